"""The stages of making a dataset, and how much of each is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Literal, TypeVar

from contract import Progress, Stage

T = TypeVar("T")

# Called with the progress, and the estimated seconds until the stage ends; None until something is done.
OnProgress = Callable[[Progress, float | None], object]


class StageMeter:
    """Counts the finished items of one stage.

    Args:
        costs: the expected cost of each item, such as its seconds of music, in any unit.
        on_progress: called at the start of the stage and after each item.
    """

    def __init__(
        self, stage: Stage, unit: Literal["songs", "segments"], costs: Sequence[float], on_progress: OnProgress
    ) -> None:
        self._stage, self._unit, self._on_progress = stage, unit, on_progress
        self._costs_so_far = list(accumulate(costs, initial=0.0))
        self._done, self._total = 0, len(costs)
        self._began = time.monotonic()
        self._tell()

    def advance(self, count: int = 1) -> None:
        """The next `count` items are done."""
        self._done = min(self._done + count, self._total)
        self._tell()

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """The items, each of which is done when the next one is asked for."""
        for item in items:
            yield item
            self.advance()

    def _tell(self) -> None:
        done = self._costs_so_far[self._done]
        left = self._costs_so_far[-1] - done
        seconds = (time.monotonic() - self._began) / done * left if done > 0 else None
        progress = Progress(stage=self._stage, done=self._done, total=self._total, unit=self._unit)
        self._on_progress(progress, seconds)


def ignore(progress: Progress, seconds_left: float | None) -> None:
    """An `OnProgress` that does nothing."""
