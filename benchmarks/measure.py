"""Interleaved timing, which tolerates a machine whose speed drifts, and confidence intervals."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value that was measured in each round.

    Attributes:
        median: of the rounds.
        low, high: the median's confidence interval of 95 %, or the widest that the number of rounds allows.
    """

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


@dataclass(frozen=True)
class Figure:
    """A line of the table.

    Attributes:
        target: such as `≤ 1.2`; empty for a figure that is only compared with others.
        low, high: the interval of the value, `nan` if it is not timed.
    """

    name: str
    target: str
    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def met(self) -> bool:
        if not self.target:
            return True
        bound = float(self.target.split()[1])
        return self.value >= bound if self.target.startswith("≥") else self.value <= bound

    def __str__(self) -> str:
        spread = "" if math.isnan(self.low) else f"({self.low:.3g}–{self.high:.3g})"
        return f"{self.name:<78}{self.target:>10}{self.value:>11.3g} {spread:<14}{'' if self.met else 'missed'}"


def median(values: Sequence[float]) -> Estimate:
    """The median, and its distribution-free confidence interval by order statistics."""
    ordered, n = sorted(values), len(values)
    outside, below = 0, 0.0
    while outside < (n - 1) // 2 and below + math.comb(n, outside) / 2**n <= 0.025:
        below += math.comb(n, outside) / 2**n
        outside += 1
    cut = max(outside - 1, 0)
    return Estimate(statistics.median(ordered), ordered[cut], ordered[-1 - cut])


def interleaved(
    implementations: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Seconds of each implementation in each round; they alternate within a round, after one warm-up round.

    The default clock is CPU time, which excludes other load on the machine.
    """
    taken: dict[str, list[float]] = {name: [] for name in implementations}
    for number in range(rounds + 1):
        for name, run in implementations.items():
            gc.collect()
            start = clock()
            run()
            if number:
                taken[name].append(clock() - start)
    return taken


def timed(call: Callable[[], object]) -> float:
    """Seconds on the wall clock."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ratio(taken: Mapping[str, list[float]], name: str, to: str) -> Estimate:
    """`name`'s time over `to`'s, paired by round."""
    return median([a / b for a, b in zip(taken[name], taken[to], strict=True)])


def summarised(name: str, target: str, values: Sequence[float]) -> Figure:
    """The figure of a value that was measured in each round: its median and interval."""
    found = median(values)
    return Figure(name, target, found.median, found.low, found.high)


def compared(name: str, target: str, taken: Mapping[str, list[float]], of: str, to: str) -> Figure:
    """The figure of the time of implementation `of` over that of `to`, paired by round."""
    return summarised(name, target, [a / b for a, b in zip(taken[of], taken[to], strict=True)])
