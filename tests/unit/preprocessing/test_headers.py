"""Damaged headers: a sample of the cases of `python -m tests.stress.headers`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stress.headers import cases, is_read


def test_damaged_headers_are_read_or_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Anything but BadAudio is raised, and so is what takes too long."""
    read = sum(is_read(data, tmp_path / "case") for _, data in cases(900, seed=7))
    assert 100 < read < 800
    assert "Traceback" not in capfd.readouterr().err  # printed by a failing callback, which does not raise
