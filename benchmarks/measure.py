"""Comparing ways of doing the same work on a machine whose speed drifts."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """How long a way takes relative to another, round by round.

    Attributes:
        median: of the ratios.
        low, high: the middle half of them lies between.
    """

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


def interleaved(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of CPU time of each way in each round, every round taking every way in turn.

    CPU time of the process, since what else the machine does must not count; one round more goes first, uncounted.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            gc.collect()
            start = time.process_time()
            way()
            if number:
                taken[name].append(time.process_time() - start)
    return taken


def ratio(taken: Mapping[str, list[float]], name: str, to: str) -> Ratio:
    """`name`'s time over `to`'s, paired by round."""
    ratios = sorted(a / b for a, b in zip(taken[name], taken[to], strict=True))
    low, median, high = statistics.quantiles(ratios, n=4)
    return Ratio(median, low, high)
