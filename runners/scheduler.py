"""Which rows take the next step together.

Rows come and go between steps, and between the layers of a step where a shorter one comes. The shortest remaining work
goes first, since that keeps everyone's wait the shortest in the mean; whoever has waited for several times its own work
goes before all who came later, so that long rows finish too. Rows share a batch where that is worth it:

    time of a step ∝ overhead + the sum of its rows' costs

A row that joins a batch saves all that wait the overhead of steps of its own, and costs all in the batch its own part
of every step. On a device that one row fills, the overhead is small and alike rows go one after the other; where the
overhead is large, as with a decoder's weights that are read for each token, everyone joins.

A batch for which memory does not suffice goes on in halves. Batches stay that small, and dare to be twice as large
again with every minute. A row that does not fit alone begins anew once nobody else holds memory; if it does not fit
then either, it fails.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from models.base import Batch, Model, Plan, Row, Run, Track
from models.device import free_memory, out_of_memory
from runners.step_cost import StepCost

log = logging.getLogger("producer_twin.runner")

# Rows in a batch, and seconds of music in all, which is what its memory grows with.
MAX_ROWS = 8
MAX_SECONDS = 600.0
# Rows for which memory is held, those included whose steps were interrupted.
MAX_BEGUN = 16
# How many times its own work a row waits before it goes first.
PATIENCE = 4.0
# Work that is saved is saved for those too who come while it lasts: at a load of 3/4, for so many for each that waits.
TO_COME = 4.0
# After so many seconds without running out of memory, batches may be twice as large again.
RECOVERY = 60.0


class Expired(Exception):
    """A row's deadline passed before it was done."""


@dataclass(eq=False)
class Ticket:
    """A row's place. `arrived` is the scheduler's clock then.

    Attributes:
        alone: a batch failed with it.
        last: memory did not suffice for it beside those that have begun.
    """

    row: Row
    plan: Plan
    deadline: float
    arrived: float
    run: Run | None = None
    group: Group | None = None
    finishing: bool = False
    alone: bool = False
    last: bool = False


@dataclass(eq=False)
class Group:
    """Tickets whose runs are in one batch. `work` is what they are in the middle of, for so many seconds already."""

    tickets: list[Ticket]
    batch: Batch | None
    work: Generator[None, None, Any] | None = field(default=None)
    seconds: float = 0.0


class Scheduler:
    """For one thread. Its clock counts work: a row's cost and overhead, for each step taken.

    `timer` tells seconds, from which the cost of steps is learnt.
    """

    def __init__(self, model: Model[Any], timer: Callable[[], float] = time.perf_counter) -> None:
        self.model = model
        self.cost = StepCost(model.overhead)
        self.tickets: list[Ticket] = []
        self.rows = 0  # that took part in the last turn
        self.clock = 0.0
        self._timer = timer
        self._most_seconds = MAX_SECONDS
        self._shrunk = 0.0
        self._group: Group | None = None
        self._changed = False

    def add(self, row: Row, deadline: float = float("inf")) -> Ticket:
        """Queue a row. `deadline` is by `time.monotonic`. Raises what is wrong with the row."""
        ticket = Ticket(row, self.model.plan(row), deadline, self.clock)
        self.tickets.append(ticket)
        self._changed = True
        return ticket

    @property
    def expected(self) -> float:
        """How many seconds the step under way takes if it takes as long as others did; 0 where none is known."""
        tickets = self.current
        if not tickets:
            return 0.0
        if tickets[0].finishing:
            return self.cost.finishing * tickets[0].row.seconds
        return (self.cost.pace or 0.0) * self.cost.of(sum(ticket.plan.cost for ticket in tickets))

    def drop(self, ticket: Ticket) -> None:
        """Nobody waits for it any more."""
        if ticket in self.tickets:
            self._remove(ticket)

    @property
    def current(self) -> list[Ticket]:
        """Those in the batch that is being worked on."""
        return self._group.tickets if self._group else []

    def next_batch(self) -> list[Ticket]:
        """Those that would take a step together now, if each could begin. There must be a ticket."""
        return self._members(self._ranked())

    def turn(self) -> list[tuple[Ticket, Track]]:
        """A stretch of work on one batch, as long as a layer or a token takes; the tickets that are answered by it."""
        answers: list[tuple[Ticket, Track]] = []
        now = time.monotonic()
        for ticket in [ticket for ticket in self.tickets if ticket.deadline <= now]:
            self._remove(ticket)
            answers.append((ticket, Expired()))
        if self._changed or self._group is None:
            self._group, self._changed = self._chosen(answers), False
        group = self._group
        self.rows = len(group.tickets) if group else 0
        if group is None:
            return answers
        try:
            if group.work is None:
                group.work, group.seconds = self._work(group), 0.0
            start = self._timer()
            try:
                next(group.work)
            finally:
                group.seconds += self._timer() - start
        except StopIteration as end:
            group.work = None
            self._stepped(group, end.value, answers)
        except Exception as error:  # noqa: BLE001 - a batch's failure is answered, and others go on
            self._failed(group, error, answers)
        return answers

    def _chosen(self, answers: list[tuple[Ticket, Track]]) -> Group | None:
        """The first ticket's group, with all that are worth having along, once they have ended their step."""
        self._grow()
        tickets = self._ranked()
        while tickets:
            first = tickets[0]
            if first.group and first.group.work:
                return first.group
            members = self._members(tickets)
            interrupted = [ticket.group for ticket in members if ticket.group and ticket.group.work]
            if interrupted:
                return interrupted[0]
            if first.group and set(first.group.tickets) == set(members):
                return first.group
            bad = [ticket for ticket in members if not self._begun(ticket, answers)]
            if not bad:
                return self._gathered(members)
            tickets = [ticket for ticket in tickets if ticket not in bad]
        return None

    def _ranked(self) -> list[Ticket]:
        begun = [ticket for ticket in self.tickets if ticket.run or ticket.last]
        full = len(begun) >= MAX_BEGUN or any(ticket.last for ticket in begun)
        return sorted(begun if full else self.tickets, key=self._rank)

    def _members(self, ranked: list[Ticket]) -> list[Ticket]:
        members = ranked[:1]
        for ticket in ranked[1:]:
            if self._joins(ticket, members):
                members.append(ticket)
        return members

    def _rank(self, ticket: Ticket) -> tuple[float, ...]:
        if ticket.last:
            return (2, ticket.arrived)
        step = self.cost.of(ticket.plan.cost)
        if self.clock - ticket.arrived > PATIENCE * ticket.plan.steps * step:
            return (0, ticket.arrived)
        left = ticket.run.steps_left if ticket.run else ticket.plan.steps
        return (1, max(left, 1) * step, ticket.arrived)

    def _joins(self, ticket: Ticket, members: list[Ticket]) -> bool:
        together = [*members, ticket]
        if (
            any(each.alone or each.finishing for each in together)
            or ticket.plan.batch_key != members[0].plan.batch_key
            or len(members) == MAX_ROWS
            or sum(each.row.seconds for each in together) > self._most_seconds
        ):
            return False
        waiting = len(self.tickets) - len(members)
        return self.cost.overhead * waiting * TO_COME >= ticket.plan.cost * len(members)

    def _begun(self, ticket: Ticket, answers: list[tuple[Ticket, Track]]) -> bool:
        try:
            ticket.run = ticket.run or self.model.begin(ticket.row)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one row is that row's answer
            self._given_up(ticket, error, answers)
            return False
        return True

    def _gathered(self, members: list[Ticket]) -> Group:
        for old in {ticket.group for ticket in members if ticket.group}:
            for ticket in old.tickets:
                ticket.group = None
        group = Group(members, None)
        for ticket in members:
            ticket.group = group
        return group

    def _work(self, group: Group) -> Generator[None, None, Any]:
        first = group.tickets[0]
        if first.finishing:
            return self.model.finish(first.run, first.row)
        if group.batch is None:
            group.batch = self.model.batch([ticket.run for ticket in group.tickets])
        return group.batch.step()

    def _stepped(self, group: Group, result: Any, answers: list[tuple[Ticket, Track]]) -> None:
        costs = sum(ticket.plan.cost for ticket in group.tickets)
        self.clock += self.cost.of(costs)
        if group.tickets[0].finishing:
            self.cost.finished(group.tickets[0].row.seconds, group.seconds)
            self._remove(group.tickets[0])
            answers.append((group.tickets[0], result))
            return
        self.cost.stepped(costs, group.seconds)
        for ticket in [ticket for ticket in group.tickets if ticket in self.tickets]:
            if ticket.run and not ticket.run.steps_left:
                ticket.finishing = True
                self._part(group)
        if any(ticket not in self.tickets for ticket in group.tickets):
            self._part(group)
        self._changed |= any(ticket.group is not group for ticket in self.tickets)

    def _failed(self, group: Group, error: Exception, answers: list[tuple[Ticket, Track]]) -> None:
        """A row alone is to blame; of several it shows when each goes on alone, unless there was too little memory."""
        group.work = group.batch = None
        self._part(group)
        if len(group.tickets) == 1:
            self._given_up(group.tickets[0], error, answers)
        elif out_of_memory(error):
            self._most_seconds = sum(ticket.row.seconds for ticket in group.tickets) / 2
            self._shrunk = time.monotonic()
            log.warning("memory did not suffice: batches of at most %g s of music for now", self._most_seconds)
            _let_go(error)
        else:
            for ticket in group.tickets:
                ticket.alone = True

    def _given_up(self, ticket: Ticket, error: Exception, answers: list[tuple[Ticket, Track]]) -> None:
        """A row failed alone, for good unless what it lacked was memory that others hold."""
        if out_of_memory(error):
            _let_go(error)
            if any(other.run for other in self.tickets if other is not ticket):
                ticket.run, ticket.finishing = None, False
                ticket.alone = ticket.last = True
                return
        self._remove(ticket)
        answers.append((ticket, error))

    def _grow(self) -> None:
        if self._most_seconds < MAX_SECONDS and time.monotonic() - self._shrunk > RECOVERY:
            self._most_seconds, self._shrunk = min(MAX_SECONDS, 2 * self._most_seconds), time.monotonic()

    def _part(self, group: Group) -> None:
        for ticket in group.tickets:
            ticket.group = None
        self._changed = True
        if self._group is group:
            self._group = None

    def _remove(self, ticket: Ticket) -> None:
        """At once, except that the others in its batch end the step that they are in."""
        self.tickets.remove(ticket)
        group, self._changed = ticket.group, True
        if group and (group.work is None or not any(each in self.tickets for each in group.tickets)):
            group.work = None
            self._part(group)


def _let_go(error: Exception) -> None:
    """Of what did not fit: the frames that the error came through hold it."""
    error.__traceback__ = None
    free_memory()
