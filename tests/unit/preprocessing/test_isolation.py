"""The templates of the sandboxes for clients' files."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable

import librosa
import pytest

from core.sandbox import Sandbox
from preprocessing.analysis_record import analysis_record
from preprocessing.decode import probe
from preprocessing.embedded_tags import read_tags
from preprocessing.isolation import ANALYSIS, CHECK, DECODING, load_analysis
from preprocessing.recording import convert
from preprocessing.songs import analyse_source, cut, keep_whole
from tests.forked_work import modules


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sandbox", "functions"),
    [(DECODING, [probe, read_tags, convert]), (ANALYSIS, [analysis_record, analyse_source, cut, keep_whole])],
)
def test_a_template_has_imported_what_its_children_call(
    sandbox: Sandbox, functions: list[Callable[..., object]]
) -> None:
    """Otherwise each child imports it, which takes longer than most calls."""
    try:
        imported = sandbox.call(CHECK, modules)
    finally:
        sandbox.close()
    assert {function.__module__ for function in functions} <= imported
