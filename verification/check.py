"""A check: a figure that is measured, the bound that it must keep, and what to do where it does not."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from models.device import free_cached_memory
from verification.subject import Subject

log = logging.getLogger("producer_twin.verification")

Status = Literal["pass", "fail", "skipped", "told"]


class Skipped(Exception):
    """The check cannot be made on this machine. The message is the reason."""


@dataclass(frozen=True)
class Bound:
    """The interval that a figure must lie in, ends included; None is no limit."""

    low: float | None = None
    high: float | None = None

    def holds(self, figure: float) -> bool:
        # A figure that is not a number keeps no bound.
        return (self.low is None or figure >= self.low) and (self.high is None or figure <= self.high)

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            return f"{self.low:g}–{self.high:g}"
        if self.low is not None:
            return f"≥ {self.low:g}"
        return "" if self.high is None else f"≤ {self.high:g}"


NO_BOUND = Bound()


@dataclass(frozen=True)
class Measured:
    """A figure with a remark, such as the parts that it consists of."""

    figure: float
    note: str


@dataclass(frozen=True)
class Check:
    """A line of the page.

    Attributes:
        name: what is measured, with the unit.
        measure: returns the figure; raises `Skipped` where that is not possible.
        advice: what to do if the bound is not kept.
        bound: None at both ends for a figure that is only told.
        needs_gpu: it says nothing on a CPU.
        needs_size: it says nothing of tiny weights, as the time of a step does.
    """

    name: str
    measure: Callable[[Subject], float | Measured]
    advice: str
    bound: Bound = NO_BOUND
    needs_gpu: bool = False
    needs_size: bool = False


@dataclass(frozen=True)
class Result:
    """The outcome of a check.

    Attributes:
        figure: None if there is none.
        note: why it was skipped, or how it failed, or a remark.
        seconds: that it took.
    """

    group: str
    name: str
    status: Status
    figure: float | None
    threshold: str
    note: str
    advice: str
    seconds: float

    def plain(self) -> dict[str, Any]:
        return asdict(self)


Groups = dict[str, Sequence[Check]]


def run(groups: Groups, subject: Subject, seconds: float) -> Iterator[Result]:
    """Make the checks one after the other; after so many seconds the rest is skipped."""
    deadline = time.monotonic() + seconds
    for group, checks in groups.items():
        for check in checks:
            result = _run(group, check, subject, time.monotonic() > deadline)
            log.info("%s: %s: %s", result.status, check.name, result.note or result.figure)
            yield result
        subject.forget()


def _run(group: str, check: Check, subject: Subject, late: bool) -> Result:
    began = time.monotonic()
    figure: float | None = None
    try:
        if late:
            raise Skipped("the time was over")
        if check.needs_gpu and subject.device.type != "cuda":
            raise Skipped("no GPU")
        if check.needs_size and subject.tiny:
            raise Skipped("the weights are tiny")
        measured = check.measure(subject)
        figure, note = (measured.figure, measured.note) if isinstance(measured, Measured) else (measured, "")
        status: Status = "told" if check.bound == NO_BOUND else "pass" if check.bound.holds(figure) else "fail"
    except Skipped as reason:
        status, note = "skipped", str(reason)
    except Exception as error:
        log.exception("%s", check.name)
        status, note = "fail", f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"
    took = round(time.monotonic() - began, 1)
    if status != "skipped":
        gc.collect()
        free_cached_memory()
    return Result(group, check.name, status, figure, str(check.bound), note, check.advice, took)
