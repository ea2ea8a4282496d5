"""The progress of a model that is being loaded: its stage, and the bytes of it where they can be counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from contract.backends import BackendLoading, LoadingStage

# A rate that was measured for a shorter time says little about the seconds that are left.
_MIN_RATE_SECONDS = 1.0


@dataclass(frozen=True)
class _Stage:
    name: LoadingStage
    total_bytes: int | None
    count: Callable[[], int] | None
    began: float


class Loading:
    """Written by the thread that loads the model, read by any other."""

    def __init__(self) -> None:
        self._stage: _Stage | None = None

    def begin(self, name: LoadingStage, total_bytes: int | None = None, count: Callable[[], int] | None = None) -> None:
        """Begin a stage.

        Args:
            total_bytes: of the whole stage, if known.
            count: returns how many bytes of it are done.
        """
        self._stage = _Stage(name, total_bytes, count, time.monotonic())

    def now(self) -> BackendLoading | None:
        """The progress of the current stage; None before the first one."""
        stage = self._stage
        if stage is None:
            return None
        done, left = stage.count() if stage.count else None, None
        seconds = time.monotonic() - stage.began
        if done and stage.total_bytes and seconds >= _MIN_RATE_SECONDS:
            left = round(max(0, stage.total_bytes - done) * seconds / done, 1)
        return BackendLoading(stage=stage.name, bytes=done, total_bytes=stage.total_bytes, seconds_left=left)
