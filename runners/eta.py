"""When each row will be done, and how many go before it, if no row is added or cancelled."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import cast

from runners.scheduler import AGING_FACTOR, Scheduler, Ticket


@dataclass(frozen=True)
class Eta:
    """The progress of a row that is not done.

    Attributes:
        running: it is in the current batch; otherwise it waits, and keeps the steps that it has taken.
        ahead: the number of rows that take a step before its next one.
        progress: the share of its steps that are done, 0 to 1.
        seconds_left: until its audio is done; `None` until the scheduler has timed steps.
    """

    running: bool
    ahead: int
    progress: float
    seconds_left: float | None


@dataclass
class _SimulatedRun:
    """Stands in for a `Run`."""

    steps_left: int


def estimate(scheduler: Scheduler) -> dict[Ticket, Eta]:
    """Every ticket's ETA, by a simulation of the scheduler that skips from the end of one row to the next.

    It only reads the scheduler, and may be called from another thread: a change meanwhile makes the result older, not
    wrong.
    """
    running = scheduler.running
    simulated = copy.copy(scheduler)
    real: dict[Ticket, Ticket] = {}
    for ticket in list(scheduler.tickets):
        run = ticket.run  # which the scheduler may take away meanwhile
        simulated_run = _SimulatedRun(run.steps_left) if run else None
        real[replace(ticket, run=simulated_run, group=None)] = ticket
    simulated.tickets = list(real)
    members = [each for each, ticket in real.items() if ticket in running]
    first_batch, seen = set(members), set[Ticket]()
    ahead: dict[Ticket, int] = {}
    seconds: dict[Ticket, float] = {}
    now = 0.0
    while simulated.tickets:
        members = members or simulated.next_batch()
        for each in members:
            each.run = each.run or _SimulatedRun(each.plan.steps)
            ahead.setdefault(each, len(seen - {each}))
        seen |= set(members)
        now += _advance(simulated, members)
        for each in members:
            if each not in simulated.tickets:
                seconds[each] = now
        members = []
    return {
        ticket: Eta(
            running=each in first_batch,
            ahead=0 if each in first_batch else ahead[each],
            progress=_progress(ticket),
            seconds_left=None if scheduler.cost.pace is None else seconds[each],
        )
        for each, ticket in real.items()
    }


def _advance(simulated: Scheduler, members: list[Ticket]) -> float:
    """Run the batch until one of its rows ends or a waiting row goes first by its age.

    Returns:
        The seconds that this takes.
    """
    cost, first = simulated.cost, members[0]
    if first.finishing:
        simulated.clock += cost.of(first.plan.cost)
        simulated.tickets.remove(first)
        return cost.finishing * first.row.seconds
    unprepared = next((each for each in members if not each.prepared), None)
    if unprepared:
        simulated.clock += cost.of(unprepared.plan.cost)
        unprepared.prepared = True
        return cost.preparing * unprepared.plan.encoded_seconds
    step = cost.of(sum(each.plan.cost for each in members))
    runs = [cast("_SimulatedRun", each.run) for each in members if each.run]
    steps = max(1, min(run.steps_left for run in runs))
    for each in simulated.tickets:
        until_first = each.arrived + AGING_FACTOR * each.plan.steps * cost.of(each.plan.cost) - simulated.clock
        if each not in members and until_first >= 0:
            steps = min(steps, math.floor(until_first / step) + 1)
    for each, run in zip(members, runs, strict=True):
        run.steps_left -= steps
        each.finishing = run.steps_left <= 0
    simulated.clock += steps * step
    return steps * step * (cost.pace or 0.0)


def _progress(ticket: Ticket) -> float:
    run = ticket.run
    if run is None:
        return 0.0
    return 1.0 if ticket.finishing else 1 - run.steps_left / max(1, ticket.plan.steps)
