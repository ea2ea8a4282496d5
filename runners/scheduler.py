"""Continuous batching: which rows of the queue take the next step together.

Rows join and leave between steps. A shorter row can also preempt a batch between the layers of a step. The row with the
shortest remaining work goes first, which minimises the mean wait. A row that has waited for several times its own work
goes before all later ones (aging), so that long rows finish too. Rows share a batch where that saves time overall:

    time of a step ∝ overhead + sum of its rows' costs

A row that joins a batch spares every waiting row the overhead of separate steps, and adds its own cost to every step of
the rows in the batch. Where one row fills the device, the overhead is small and similar rows run one after the other.
Where the overhead is large, as with a decoder that reads its weights for each token, every row joins.

The takes of one request are answered together, so that they always share a batch.

A row with recordings is prepared first: they are encoded, in pieces of some seconds. Where it is to join other rows,
these take a step after each piece.

Rows with a DoRA, LoKr, LoHa or OFT adapter need a merged copy of the weights, which rows with the same adapter share.
Those for whose copy there is no memory wait until other rows are done.

A batch that runs out of memory continues in halves, and the limit doubles again every minute. A row that does not fit
alone starts again once no other row holds memory, and fails if it does not fit then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from models.base import Batch, Model, Plan, Row, Run, Track
from models.device import free_memory_of, is_out_of_memory
from runners.step_cost import StepCost

log = logging.getLogger("producer_twin.runner")

# Limits of a batch. Its memory grows with the seconds of music in it.
MAX_ROWS = 8
MAX_SECONDS = 600.0
# Rows that hold memory: the running ones and the preempted ones.
MAX_STARTED = 16
# A row that has waited for this many times its own work goes first.
AGING_FACTOR = 4.0
# Rows that arrive later share the saving as well: at a load of 3/4, this many for each waiting row.
ARRIVALS_PER_WAITING_ROW = 4.0
# Seconds without an out-of-memory error after which the limit of a batch doubles.
RECOVERY_SECONDS = 60.0
# Ranks: the lowest goes first.
_AGED, _USUAL, _DEFERRED = range(3)


class Expired(Exception):
    """A row's deadline passed before it was done."""


@dataclass(eq=False)
class Ticket:
    """A row in the scheduler, waiting or running.

    Attributes:
        row: the request.
        plan: its number of steps and their cost.
        deadline: by `time.monotonic`.
        arrived: the scheduler's clock when the row was added.
        run: its state in the model; `None` until it starts.
        group: the batch that it is in.
        prepared: its recordings are encoded, or it has none.
        finishing: its steps are done, and its audio is being decoded.
        emitted: a part of its audio was given away, so that it cannot start again.
        alone: it no longer shares a batch, since a batch with it failed.
        deferred: it ran out of memory alone, and waits until no other row holds memory.
        request: identifies the request of which it is a take; takes of one request are answered together.
    """

    row: Row
    plan: Plan
    deadline: float
    arrived: float
    run: Run | None = None
    group: Group | None = None
    prepared: bool = True
    finishing: bool = False
    emitted: bool = False
    alone: bool = False
    deferred: bool = False
    request: object = None


@dataclass(eq=False)
class Group:
    """The tickets of one batch, and the step that it is taking.

    Attributes:
        tickets: the rows.
        batch: the model's batch; `None` until its first step, and while a row is prepared or decoded.
        work: the step under way.
        emitting: the ticket of which a piece of audio is being decoded in place of a step.
        seconds: the time that the step under way has taken so far.
    """

    tickets: list[Ticket]
    batch: Batch | None = None
    work: Generator[None, None, Any] | None = None
    emitting: Ticket | None = None
    seconds: float = 0.0


class Scheduler:
    """Batches the rows of one model. Not thread-safe.

    Args:
        model: the model that takes the steps.
        timer: returns seconds; the cost of steps is learnt from it.

    Attributes:
        cost: predicts how long steps take.
        tickets: the rows that are not done, in the order of their arrival.
        rows: the number of rows in the last slice.
        clock: the work done so far, in the unit of costs.
    """

    def __init__(self, model: Model[Any], timer: Callable[[], float] = time.perf_counter) -> None:
        self.model = model
        self.cost = StepCost(model.overhead)
        self.tickets: list[Ticket] = []
        self.rows = 0
        self.clock = 0.0
        self._timer = timer
        self._max_seconds = MAX_SECONDS
        self._limited_at = 0.0
        self._group: Group | None = None
        self._answers: list[tuple[Ticket, Track]] = []  # of the current slice
        self._changed = False  # the next slice chooses the batch anew
        self._prepared_last = False  # the last batch that was chosen is a row that is being prepared

    def add(self, row: Row, deadline: float = float("inf"), request: object = None) -> Ticket:
        """Queue a row.

        Args:
            row: the row.
            deadline: by `time.monotonic`; past it the row is answered by `Expired`.
            request: identifies the request, where the row is one of its takes.

        Raises:
            Exception: the model's, if the row is invalid.
        """
        plan = self.model.plan(row)
        ticket = Ticket(row, plan, deadline, self.clock, prepared=not plan.encoded_seconds, request=request)
        self.tickets.append(ticket)
        self._changed = True
        return ticket

    def drop(self, ticket: Ticket) -> None:
        """Cancel a row. One that is done already is ignored."""
        if ticket in self.tickets:
            self._remove(ticket)

    @property
    def running(self) -> list[Ticket]:
        """The tickets of the current batch."""
        return self._group.tickets if self._group else []

    @property
    def expected_seconds(self) -> float:
        """How long the step under way should take; 0 if unknown."""
        tickets = self.running
        if not tickets:
            return 0.0
        if tickets[0].finishing:
            return self.cost.finishing * tickets[0].row.seconds
        if not tickets[0].prepared:
            return self.cost.preparing * tickets[0].plan.encoded_seconds
        return (self.cost.pace or 0.0) * self.cost.of(sum(ticket.plan.cost for ticket in tickets))

    def next_batch(self) -> list[Ticket]:
        """The tickets that would take the next step now, if all of them can start. There must be a ticket."""
        return self._members(self._ranked())

    def run_slice(self) -> list[tuple[Ticket, Track]]:
        """Run one batch up to its next preemption point: for a layer of a step, for a token, or for a piece of audio.

        Returns:
            The tickets that are done, each with its audio or its error.
        """
        self._answers = []
        now = time.monotonic()
        for ticket in [ticket for ticket in self.tickets if ticket.deadline <= now]:
            self._answer(ticket, Expired())
        if self._changed or self._group is None:
            self._group, self._changed = self._next_group(), False
        group = self._group
        self.rows = len(group.tickets) if group else 0
        if group is None:
            return self._answers
        try:
            if group.work is None:
                group.work, group.seconds = self._begin_step(group), 0.0
            start = self._timer()
            try:
                next(group.work)
            finally:
                group.seconds += self._timer() - start
            self._changed |= self._prepared_last
        except StopIteration as end:
            group.work = None
            self._step_done(group, end.value)
        except Exception as error:  # noqa: BLE001 - a batch's failure is answered, and the other rows go on
            self._step_failed(group, error)
        return self._answers

    def _next_group(self) -> Group | None:
        """The batch of the first ticket and of those that join it, once they have completed their steps."""
        self._raise_limit()
        tickets = self._ranked()
        while tickets:
            members = self._members(tickets)
            ready = [ticket for ticket in members if ticket.prepared]
            unprepared = [ticket for ticket in members if not ticket.prepared]
            if unprepared and not (ready and self._prepared_last):
                self._prepared_last = True
                return unprepared[0].group or self._regroup(unprepared[:1])
            self._prepared_last = False
            first = ready[0]
            if first.group and first.group.work:
                return first.group
            preempted = [ticket.group for ticket in ready if ticket.group and ticket.group.work]
            if preempted:
                return preempted[0]
            if first.group and set(first.group.tickets) == set(ready):
                return first.group
            failed = [ticket for ticket in ready if not self._start(ticket)]
            if not failed:
                return self._regroup(ready)
            tickets = [ticket for ticket in tickets if ticket not in failed]
        return None

    def _ranked(self) -> list[Ticket]:
        started = [ticket for ticket in self.tickets if ticket.run or ticket.deferred]
        full = len(started) >= MAX_STARTED or any(ticket.deferred for ticket in started)
        return self._with_room(sorted(started if full else self.tickets, key=self._rank))

    def _with_room(self, ranked: list[Ticket]) -> list[Ticket]:
        """Leave out the rows that wait for memory for their merged weights, unless all do."""
        ready: list[Ticket] = []
        reserved = False  # a row that has aged waits: those that follow must not keep the memory from it
        for ticket in ranked:
            waits = (reserved and ticket.plan.batch_key is not None) or not self.model.has_room(ticket.row)
            if waits and ticket.run is None:
                reserved |= self._rank(ticket)[0] == _AGED
            else:
                ready.append(ticket)
        return ready or ranked

    def _members(self, ranked: list[Ticket]) -> list[Ticket]:
        members = ranked[:1]
        for ticket in ranked[1:]:
            if self._joins(ticket, members):
                members.append(ticket)
        return members

    def _rank(self, ticket: Ticket) -> tuple[float, ...]:
        if ticket.deferred:
            return (_DEFERRED, ticket.arrived)
        step = self.cost.of(ticket.plan.cost)
        if self.clock - ticket.arrived > AGING_FACTOR * ticket.plan.steps * step:
            return (_AGED, ticket.arrived)
        left = ticket.run.steps_left if ticket.run else ticket.plan.steps
        return (_USUAL, max(left, 1) * step, ticket.arrived)

    def _joins(self, ticket: Ticket, members: list[Ticket]) -> bool:
        together = [*members, ticket]
        if (
            any(each.alone or each.finishing for each in together)
            or ticket.plan.batch_key != members[0].plan.batch_key
            or len(members) == MAX_ROWS
            or sum(each.row.seconds for each in together) > self._max_seconds
        ):
            return False
        if ticket.request is not None and ticket.request is members[0].request:
            return True  # the client waits for all of them, so that only the time of all counts
        waiting = len(self.tickets) - len(members)
        return self.cost.overhead * waiting * ARRIVALS_PER_WAITING_ROW >= ticket.plan.cost * len(members)

    def _start(self, ticket: Ticket) -> bool:
        """Start a row that has not started. Returns False if that failed, which is the row's answer."""
        try:
            ticket.run = ticket.run or self.model.begin(ticket.row)
        except Exception as error:  # noqa: BLE001 - an invalid row fails alone
            self._row_failed(ticket, error)
            return False
        return True

    def _regroup(self, members: list[Ticket]) -> Group:
        for old in {ticket.group for ticket in members if ticket.group}:
            for ticket in old.tickets:
                ticket.group = None
        group = Group(members)
        for ticket in members:
            ticket.group = group
        return group

    def _begin_step(self, group: Group) -> Generator[None, None, Any]:
        first = group.tickets[0]
        if first.finishing:
            first.emitted |= first.row.emit is not None
            return self.model.finish(first.run, first.row)
        if not first.prepared:
            return self.model.prepare(first.row)
        for ticket in group.tickets:
            if ticket.row.emit and (piece := self.model.next_piece(ticket.run, ticket.row)):
                group.emitting, ticket.emitted = ticket, True
                return piece
        if group.batch is None:
            group.batch = self.model.batch([ticket.run for ticket in group.tickets])
        return group.batch.step()

    def _step_done(self, group: Group, result: Any) -> None:
        costs, first = sum(ticket.plan.cost for ticket in group.tickets), group.tickets[0]
        if group.emitting:
            group.emitting = None
            if any(ticket not in self.tickets for ticket in group.tickets):
                self._dissolve(group)
            return
        self.clock += self.cost.of(costs)
        if first.finishing:
            if not first.row.emit:  # otherwise a part of its audio was decoded before
                self.cost.finished(first.row.seconds, group.seconds)
            self._answer(first, result)
            return
        if not first.prepared:
            self.cost.prepared(first.plan.encoded_seconds, group.seconds)
            for ticket in self.tickets:
                # Takes have the same recordings, which are encoded now.
                if ticket is first or (first.request is not None and ticket.request is first.request):
                    ticket.prepared = True
            self._dissolve(group)
            return
        self.cost.stepped(costs, group.seconds)
        for ticket in [ticket for ticket in group.tickets if ticket in self.tickets]:
            if ticket.run and not ticket.run.steps_left:
                ticket.finishing = True
                self._dissolve(group)
        if any(ticket not in self.tickets for ticket in group.tickets):
            self._dissolve(group)
        self._changed |= any(ticket.group is not group for ticket in self.tickets)

    def _step_failed(self, group: Group, error: Exception) -> None:
        """Answer a single row. Several rows go on in halves if memory ran out, else alone, to find the faulty one."""
        emitting, group.emitting = group.emitting, None
        group.work = group.batch = None
        self._dissolve(group)
        if emitting or len(group.tickets) == 1:
            self._row_failed(emitting or group.tickets[0], error)
        elif is_out_of_memory(error):
            self._max_seconds = sum(ticket.row.seconds for ticket in group.tickets) / 2
            self._limited_at = time.monotonic()
            log.warning("out of memory: batches are limited to %g s of music for now", self._max_seconds)
            free_memory_of(error)
        else:
            for ticket in group.tickets:
                ticket.alone = True

    def _row_failed(self, ticket: Ticket, error: Exception) -> None:
        """Answer a row with its error, or defer it if it lacked memory that other rows hold."""
        if is_out_of_memory(error):
            free_memory_of(error)
            if not ticket.emitted and any(other.run for other in self.tickets if other is not ticket):
                ticket.run, ticket.finishing = None, False
                ticket.alone = ticket.deferred = True
                return
        self._answer(ticket, error)

    def _answer(self, ticket: Ticket, track: Track) -> None:
        self._remove(ticket)
        self._answers.append((ticket, track))

    def _raise_limit(self) -> None:
        if self._max_seconds < MAX_SECONDS and time.monotonic() - self._limited_at > RECOVERY_SECONDS:
            self._max_seconds, self._limited_at = min(MAX_SECONDS, 2 * self._max_seconds), time.monotonic()

    def _dissolve(self, group: Group) -> None:
        for ticket in group.tickets:
            ticket.group = None
        self._changed = True
        if self._group is group:
            self._group = None

    def _remove(self, ticket: Ticket) -> None:
        """Remove a row at once. The other rows of its batch complete the step under way."""
        self.tickets.remove(ticket)
        ticket.run = None  # frees its memory, while the ticket itself is still on its way to the client
        group, self._changed = ticket.group, True
        if group and (group.work is None or not any(each in self.tickets for each in group.tickets)):
            group.work = None
            self._dissolve(group)
