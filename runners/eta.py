"""Where each row stands, and when it will be done, if nobody else comes or leaves."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import cast

from models.base import Run
from runners.scheduler import PATIENCE, Scheduler, Ticket


@dataclass(frozen=True)
class Eta:
    """What is known of a row that is not done.

    Attributes:
        making: it is in the batch that is being worked on; otherwise it waits, with what is done of it kept.
        ahead: how many rows take a step before it takes its next one.
        progress: the share of its steps that are done.
        seconds_left: until its audio is there; `None` while the device's pace is not known.
    """

    making: bool
    ahead: int
    progress: float
    seconds_left: float | None


@dataclass
class _Left:
    """Stands in for a run."""

    steps_left: int


def forecast(scheduler: Scheduler) -> dict[Ticket, Eta]:
    """Every ticket's outlook: the scheduler's own choices, played on in leaps from one row's end to the next.

    It only reads, and may be called from another thread than the scheduler's: what changes meanwhile makes it older,
    not wrong.
    """
    current = scheduler.current
    shadow = copy.copy(scheduler)
    real: dict[Ticket, Ticket] = {}
    for ticket in list(scheduler.tickets):
        left = ticket.run.steps_left if ticket.run else ticket.plan.steps
        begun = cast("Run | None", _Left(left) if ticket.run else None)
        real[replace(ticket, run=begun, group=None)] = ticket
    shadow.tickets = list(real)
    members = [each for each, ticket in real.items() if ticket in current]
    making, seen = set(members), set[Ticket]()
    ahead: dict[Ticket, int] = {}
    seconds: dict[Ticket, float] = {}
    now = 0.0
    while shadow.tickets:
        members = members or shadow.next_batch()
        for each in members:
            each.run = each.run or cast("Run", _Left(each.plan.steps))
            ahead.setdefault(each, len(seen - {each}))
        seen |= set(members)
        now += _leap(shadow, members)
        for each in members:
            if each not in shadow.tickets:
                seconds[each] = now
        members = []
    return {
        ticket: Eta(
            making=each in making,
            ahead=0 if each in making else ahead[each],
            progress=_progress(ticket),
            seconds_left=None if scheduler.cost.pace is None else seconds[each],
        )
        for each, ticket in real.items()
    }


def _leap(shadow: Scheduler, members: list[Ticket]) -> float:
    """Let the batch go on until a row of it ends, or one that waits has waited for too long; the seconds of it."""
    cost, first = shadow.cost, members[0]
    if first.finishing:
        shadow.clock += cost.of(first.plan.cost)
        shadow.tickets.remove(first)
        return cost.finishing * first.row.seconds
    step = cost.of(sum(each.plan.cost for each in members))
    runs = [cast("_Left", each.run) for each in members if each.run]
    steps = max(1, min(run.steps_left for run in runs))
    for each in shadow.tickets:
        late = each.arrived + PATIENCE * each.plan.steps * cost.of(each.plan.cost) - shadow.clock
        if each not in members and late >= 0:
            steps = min(steps, math.floor(late / step) + 1)
    for each, run in zip(members, runs, strict=True):
        run.steps_left -= steps
        each.finishing = run.steps_left <= 0
    shadow.clock += steps * step
    return steps * step * (cost.pace or 0.0)


def _progress(ticket: Ticket) -> float:
    if ticket.run is None:
        return 0.0
    return 1.0 if ticket.finishing else 1 - ticket.run.steps_left / max(1, ticket.plan.steps)
