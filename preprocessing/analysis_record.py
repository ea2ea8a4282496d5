"""The analysis of a file as a sandbox's child makes it, for callers that need not load what it imports."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def analysis_record(path: Path) -> dict[str, Any]:
    """The `Analysis.record` of a file. Raises BadAudio."""
    from preprocessing.analysis import analyse

    return analyse(path).record()
