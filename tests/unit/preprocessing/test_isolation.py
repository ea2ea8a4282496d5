"""The templates of the sandboxes for clients' files."""

from __future__ import annotations

import fcntl
import threading

import librosa
import pytest

from preprocessing.isolation import load_analysis


@pytest.mark.slow
def test_one_process_at_a_time_compiles_the_analysis() -> None:
    """Two that compile at once leave a cache on which later processes crash."""
    load_analysis()  # what is compiled once takes no longer than the wait below
    second = threading.Thread(target=load_analysis)
    with open(librosa.__file__) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        second.start()
        second.join(5)
        assert second.is_alive()
    second.join(120)
    assert not second.is_alive()
