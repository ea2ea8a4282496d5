"""Writes the progress of a job's preparation into its record."""

from __future__ import annotations

import time
from collections.abc import Callable

from contract import Progress

_MIN_SECONDS_BETWEEN_UPDATES = 0.5


class ProgressWriter:
    """An `OnProgress` that writes the beginning and the end of each stage, and at intervals what is between.

    Args:
        update: changes fields of the job's record.
    """

    def __init__(self, update: Callable[..., None]) -> None:
        self._update = update
        self._stage = ""
        self._at = 0.0

    def __call__(self, progress: Progress, seconds_left: float | None) -> None:
        now = time.monotonic()
        is_edge = progress.stage != self._stage or progress.done == progress.total
        if is_edge or now - self._at >= _MIN_SECONDS_BETWEEN_UPDATES:
            self._stage, self._at = progress.stage, now
            self._update(progress=progress, seconds_left=None if seconds_left is None else round(seconds_left, 1))
