"""The scheduler's order and batches, and that every row is answered once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from contract import SamplingOptions
from core.errors import Refusal
from models.base import Interruptible, Plan, Row, Text
from runners import scheduler, worker
from runners.scheduler import Expired, Scheduler, Ticket
from runners.worker import Worker
from tests.api import PATIENCE

LAYERS = 3


@dataclass(eq=False)
class Count:
    """A run that counts its steps down."""

    row: Row
    steps_left: int


class Counts:
    def __init__(self, model: Counting, runs: Sequence[Count]) -> None:
        self.model, self.runs = model, runs

    def step(self) -> Interruptible:
        names = sorted(run.row.text.prompt for run in self.runs)
        for _ in range(LAYERS):
            self.model.work.append(names)
            yield
        assert self.model.go.wait(PATIENCE)
        if "breaks" in names:
            raise RuntimeError("broken")
        if sum(run.row.seconds for run in self.runs) > self.model.memory - self.model.held(self.runs):
            raise torch.OutOfMemoryError("out of memory")
        for run in self.runs:
            run.steps_left -= 1


class Counting:
    """A model without weights: a step of a row costs its seconds, and a track is the row's seed."""

    def __init__(self, overhead: float = 0.0, memory: float = float("inf")) -> None:
        self.overhead = overhead
        self.memory = memory  # seconds of music that fit; runs outside of the batch hold a tenth of theirs
        self.tickets: list[Ticket] = []
        self.work: list[list[str]] = []  # the rows of the batch, for each layer
        self.go, self.come = threading.Event(), threading.Event()
        self.go.set()
        self.come.set()

    def plan(self, row: Row) -> Plan:
        assert self.come.wait(PATIENCE)
        if row.text.prompt == "misfit":
            raise ValueError("misfit")
        return Plan(row.options.steps or 1, row.seconds, row.text.key)

    def has_room(self, row: Row) -> bool:
        """One batch key has room at a time, for rows whose prompt is `merged`."""
        used = {ticket.plan.batch_key for ticket in self.tickets if ticket.run and ticket.row.text.prompt == "merged"}
        return row.text.prompt != "merged" or used <= {row.text.key}

    def begin(self, row: Row) -> Count:
        if row.text.prompt == "bad":
            raise ValueError("bad")
        return Count(row, row.options.steps or 1)

    def held(self, runs: Sequence[Count]) -> float:
        return sum(ticket.row.seconds / 10 for ticket in self.tickets if ticket.run and ticket.run not in runs)

    def batch(self, runs: Sequence[Count]) -> Counts:
        return Counts(self, runs)

    def finish(self, run: Count, row: Row) -> Generator[None, None, NDArray[np.float32]]:
        assert run.row is row and not run.steps_left
        yield
        return np.array([row.options.seed], np.float32)


def _row(name: str = "x", seconds: float = 1.0, steps: int = 2, seed: int = 0, batch_key: str | None = None) -> Row:
    return Row(Text(name, key=batch_key), seconds, SamplingOptions(seed=seed, steps=steps))


def _all(scheduler: Scheduler) -> dict[Ticket, Any]:
    """Run until every ticket is answered."""
    answers: dict[Ticket, Any] = {}
    for _ in range(100_000):
        if not scheduler.tickets:
            return answers
        for ticket, track in scheduler.run_slice():
            assert ticket not in answers, "answered twice"
            answers[ticket] = track
    raise AssertionError("it never ends")


def _order(model: Counting) -> list[str]:
    """The batches in the order of their work, without repetitions."""
    names = ["+".join(sorted(batch)) for batch in model.work]
    return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]


def test_rows_wait_for_room_but_not_for_ever() -> None:
    """Rows of one key that keep coming share its room until a row of another key has aged."""
    model = Counting()
    each = Scheduler(cast(Any, model))
    model.tickets = each.tickets
    each.add(_row("merged", steps=3, batch_key="one"))
    each.run_slice()
    other = each.add(_row("merged", steps=2, seed=7, batch_key="two"))
    free = each.add(_row("plain", steps=1))
    answers: dict[Ticket, Any] = {}
    for number in range(400):
        if number % 2 == 0 and number < 200:
            each.add(_row("merged", steps=1, batch_key="one"))
        answers |= dict(each.run_slice())
        keys = {ticket.plan.batch_key for ticket in each.tickets if ticket.run and ticket.row.text.prompt == "merged"}
        assert len(keys) <= 1
        if other in answers:
            break
    assert free in answers and answers[other] == [7] and number < 200


def test_a_short_row_preempts_a_long_one_between_layers() -> None:
    model = Counting()
    each = Scheduler(cast(Any, model))
    each.add(_row("long", 60))
    each.run_slice()
    each.add(_row("short", 5))
    _all(each)
    assert _order(model) == ["long", "short", "long"]
    assert model.work[:2] == [["long"], ["short"]], "it waits for a layer, not for a step"
    assert sum(batch == ["long"] for batch in model.work) == 2 * LAYERS, "no layer is computed twice"


def test_rows_share_a_batch_where_that_saves_time() -> None:
    model = Counting(overhead=15)
    each = Scheduler(cast(Any, model))
    rows = [each.add(_row(str(number), 1, steps=4 + number)) for number in range(4)]
    assert len(_all(each)) == len(rows)
    assert _order(model) == ["0+1+2+3", "1+2+3", "2+3", "3"]


def test_a_late_row_joins_the_batch() -> None:
    model = Counting(overhead=15)
    each = Scheduler(cast(Any, model))
    each.add(_row("first", 1, steps=10))
    for _ in range(2 * LAYERS):
        each.run_slice()
    each.add(_row("second", 1, steps=3))
    _all(each)
    assert _order(model) == ["first", "first+second", "first"]
    assert sum("first" in batch for batch in model.work) == 10 * LAYERS


def test_batch_keys_do_not_mix() -> None:
    model = Counting(overhead=100)
    each = Scheduler(cast(Any, model))
    for batch_key in ("a", "b", "a", "b"):
        each.add(_row(batch_key, batch_key=batch_key))
    _all(each)
    assert _order(model) == ["a+a", "b+b"]


def test_a_batch_has_its_limits() -> None:
    model = Counting(overhead=1e6)
    each = Scheduler(cast(Any, model))
    for _ in range(scheduler.MAX_ROWS + 3):
        each.add(_row())
    for _ in range(3):
        each.add(_row("long", scheduler.MAX_SECONDS / 2, steps=9))
    _all(each)
    assert max(map(len, model.work)) == scheduler.MAX_ROWS
    assert max(batch.count("long") for batch in model.work) == 2


def test_a_long_row_does_not_starve() -> None:
    model = Counting()
    each = Scheduler(cast(Any, model))
    long = each.add(_row("long", 10))
    answers: list[Ticket] = []
    for number in range(1000):
        if number % 4 == 0:
            each.add(_row("short", 1))  # as fast as they are made
        answers += [ticket for ticket, _ in each.run_slice()]
        if long in answers:
            break
    done = sum(len(batch) * (10 if batch == ["long"] else 1) for batch in model.work) / LAYERS
    assert done <= (scheduler.AGING_FACTOR + 2) * 20


def test_one_row_fails_alone() -> None:
    model = Counting(overhead=100)
    each = Scheduler(cast(Any, model))
    good = [each.add(_row(str(seed), seed=seed)) for seed in range(3)]
    bad, breaks = each.add(_row("bad")), each.add(_row("breaks"))
    with pytest.raises(ValueError, match="misfit"):
        each.add(_row("misfit"))
    answers = _all(each)
    assert [answers[ticket].tolist() for ticket in good] == [[0], [1], [2]]
    assert isinstance(answers[bad], ValueError) and isinstance(answers[breaks], RuntimeError)


def test_a_batch_that_does_not_fit_continues_in_halves_until_the_limit_recovers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Counting(overhead=1e6, memory=4)
    each = Scheduler(cast(Any, model))
    rows = [each.add(_row("x", 1, steps=3, seed=seed)) for seed in range(5)]
    answers = _all(each)
    assert [answers[ticket].tolist() for ticket in rows] == [[0], [1], [2], [3], [4]]
    assert [len(batch) for batch in model.work].count(5) == LAYERS, "it is tried once"
    assert max(len(batch) for batch in model.work[LAYERS:]) == 2

    def sizes() -> set[int]:
        model.work.clear()
        for seed in range(4):
            each.add(_row("x", 1, seed=seed))
        _all(each)
        return {len(batch) for batch in model.work}

    assert sizes() == {2}
    monkeypatch.setattr(scheduler, "RECOVERY_SECONDS", 0.0)
    assert sizes() == {4}


def test_a_row_that_does_not_fit_is_deferred_and_fails_if_it_never_fits() -> None:
    model = Counting(overhead=1e6, memory=10)
    each = Scheduler(cast(Any, model))
    model.tickets = each.tickets
    small = each.add(_row("small", 2, steps=9))
    each.run_slice()
    tight, large = each.add(_row("tight", 9.9, steps=1)), each.add(_row("large", 11, steps=1))
    answers = _all(each)
    assert answers[small].tolist() == answers[tight].tolist() == [0]
    assert isinstance(answers[large], torch.OutOfMemoryError)
    assert each.add(_row("next")) in _all(each)


def test_a_dropped_row_leaves_at_the_next_step() -> None:
    model = Counting(overhead=100)
    each = Scheduler(cast(Any, model))
    gone, stays = each.add(_row("gone", steps=50)), each.add(_row("stays", steps=3))
    each.run_slice()
    each.drop(gone)
    assert list(_all(each)) == [stays]
    assert model.work.count(["gone", "stays"]) == LAYERS and model.work.count(["stays"]) == 2 * LAYERS


def test_a_deadline_frees_the_row() -> None:
    model = Counting(overhead=100)
    each = Scheduler(cast(Any, model))
    late, stays = each.add(_row("late", steps=50), deadline=time.monotonic()), each.add(_row("stays"))
    answers = _all(each)
    assert isinstance(answers[late], Expired) and answers[stays].tolist() == [0]
    assert ["late"] not in model.work


_ROWS = st.builds(
    _row,
    name=st.sampled_from(["x", "x", "x", "bad", "breaks"]),
    seconds=st.sampled_from([1.0, 5.0, 60.0, 400.0]),
    steps=st.integers(1, 5),
    seed=st.integers(1, 1000),
    batch_key=st.sampled_from([None, None, "a", "b"]),
)


@given(
    overhead=st.sampled_from([0.0, 10.0, 1e4]),
    memory=st.sampled_from([float("inf"), 500.0, 100.0]),
    moves=st.lists(st.one_of(_ROWS, st.integers(0, 30), st.just("slice")), max_size=40),
)
def test_every_row_is_answered_once_with_its_own_track(
    overhead: float, memory: float, moves: list[Row | int | str]
) -> None:
    each = Scheduler(cast(Any, Counting(overhead, memory)))
    each.model.tickets = each.tickets  # type: ignore[attr-defined]
    added: list[Ticket] = []
    dropped: set[Ticket] = set()
    answers: dict[Ticket, Any] = {}
    for move in moves:
        if isinstance(move, Row):
            added.append(each.add(move))
        elif isinstance(move, int):
            if move < len(added) and added[move] not in answers:
                each.drop(added[move])
                dropped.add(added[move])
        else:
            answers |= dict(each.run_slice())
    assert len([ticket for ticket in each.tickets if ticket.run]) <= scheduler.MAX_STARTED + scheduler.MAX_ROWS
    answers |= _all(each)
    assert answers.keys() == set(added) - dropped
    for ticket, track in answers.items():
        if ticket.row.text.prompt == "x" and ticket.row.seconds <= memory:
            assert track.tolist() == [ticket.row.options.seed]
        else:
            assert isinstance(track, Exception)


def test_requests_from_an_event_loop() -> None:
    async def scenario() -> None:
        model = Counting(overhead=100)
        each = Worker(Scheduler(cast(Any, model)))
        model.go.clear()
        many = [asyncio.create_task(each.track(_row(seed=seed))) for seed in range(worker.MAX_TRACKS)]
        gone = many.pop()
        await asyncio.sleep(0.05)
        with pytest.raises(Refusal, match="try again") as refused:
            await each.track(_row())
        assert refused.value.status == 503
        gone.cancel()
        model.go.set()
        tracks = await asyncio.wait_for(asyncio.gather(*many), PATIENCE)
        assert [int(track[0]) for track in tracks if not isinstance(track, Exception)] == list(range(len(many)))
        assert isinstance(await each.track(_row("misfit")), ValueError)
        assert not isinstance(await each.track(_row(seed=7)), Exception), "it goes on"

    asyncio.run(scenario())


def test_an_event_loop_that_ended_does_not_end_the_thread() -> None:
    model = Counting()
    each = Worker(Scheduler(cast(Any, model)))

    async def leaves() -> None:
        model.go.clear()
        await asyncio.wait({asyncio.create_task(each.track(_row()))}, timeout=0.05)

    asyncio.run(leaves())
    model.go.set()
    assert not isinstance(asyncio.run(each.track(_row())), Exception)


def test_an_error_of_the_scheduler_answers_all_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        each = Worker(Scheduler(cast(Any, Counting())))
        with monkeypatch.context() as patch:
            patch.setattr(Scheduler, "_next_group", lambda *_: 1 / 0)
            assert isinstance(await asyncio.wait_for(each.track(_row()), PATIENCE), ZeroDivisionError)
        assert not isinstance(await asyncio.wait_for(each.track(_row()), PATIENCE), Exception)

    asyncio.run(scenario())
