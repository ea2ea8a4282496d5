"""Damaged headers: a sample of the cases of `python -m tests.stress.fuzz sounds`."""

from __future__ import annotations

import pytest

from tests.stress.fuzz import cases, is_taken
from tests.stress.parsers import sounds


@pytest.mark.slow
def test_damaged_headers_are_read_or_refused(capfd: pytest.CaptureFixture[str]) -> None:
    """Anything but BadAudio is raised, and so is what takes too long."""
    parser = sounds()
    read = sum(is_taken(parser, *case) for case in cases(parser, 900, seed=7))
    assert 100 < read < 800
    assert "Traceback" not in capfd.readouterr().err  # printed by a failing callback, which does not raise
