"""Interleaved timing, which tolerates a machine whose speed drifts, and confidence intervals."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch.utils._python_dispatch import TorchDispatchMode

# Operations that move no data, and so launch no kernel.
LAUNCHES_NOTHING = frozenset(
    (
        *("view", "view_as", "_unsafe_view", "reshape", "transpose", "permute", "t", "slice", "select", "narrow"),
        *("unsqueeze", "squeeze", "split", "split_with_sizes", "chunk", "unbind", "expand", "as_strided"),
        *("flatten", "unflatten", "alias", "detach", "detach_", "lift_fresh", "device", "empty", "new_empty"),
    )
)


@dataclass(frozen=True)
class Ratio:
    """The time of one implementation relative to another's, over rounds.

    Attributes:
        median: of the ratios.
        low, high: the median's confidence interval of 95 %, or the widest that the number of rounds allows.
    """

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


@dataclass(frozen=True)
class Figure:
    """A line of the table, with a target or for comparison; `low`, `high`: `nan` if it is not a time."""

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


def median(values: Sequence[float]) -> Ratio:
    """The median, and its distribution-free confidence interval by order statistics."""
    ordered, n = sorted(values), len(values)
    outside, below = 0, 0.0
    while outside < (n - 1) // 2 and below + math.comb(n, outside) / 2**n <= 0.025:
        below += math.comb(n, outside) / 2**n
        outside += 1
    cut = max(outside - 1, 0)
    return Ratio(statistics.median(ordered), ordered[cut], ordered[-1 - cut])


def interleaved(
    ways: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Seconds of each implementation in each round; they alternate within a round, after one warm-up round.

    The default clock is CPU time, which excludes other load on the machine.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            gc.collect()
            start = clock()
            way()
            if number:
                taken[name].append(clock() - start)
    return taken


def ratio(taken: Mapping[str, list[float]], name: str, to: str) -> Ratio:
    """`name`'s time over `to`'s, paired by round."""
    return median([a / b for a, b in zip(taken[name], taken[to], strict=True)])


def compared(what: str, target: str, taken: Mapping[str, list[float]], name: str, to: str) -> Figure:
    found = ratio(taken, name, to)
    return Figure(what, target, found.median, found.low, found.high)


class _Count(TorchDispatchMode):
    """Counts the kernels that a device would launch."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name = func.__name__.split(".")[0]
        if name not in LAUNCHES_NOTHING:
            self.operations[name] += 1
        return func(*args, **(kwargs or {}))


def operations(way: Callable[[], object]) -> int:
    with _Count() as count:
        way()
    return count.operations.total()
