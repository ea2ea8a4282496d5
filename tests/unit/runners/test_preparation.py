"""Rows whose recordings have to be encoded, beside rows without any."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import pytest
import torch

from contract import SamplingOptions
from models.base import Interruptible, Plan, Row, Text
from runners.eta import estimate
from runners.scheduler import Scheduler, Ticket
from tests.unit.runners.test_scheduler import LAYERS, Counting

PIECES = 10


class Encoding(Counting):
    """A row whose prompt begins with `edit` has a recording of ten pieces; `edit broken` fails after two."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.failures: list[Exception] = []

    def plan(self, row: Row) -> Plan:
        return Plan(row.options.steps or 1, row.seconds, encoded_seconds=5.0 * row.text.prompt.startswith("edit"))

    def prepare(self, row: Row) -> Interruptible:
        for piece in range(PIECES):
            self.work.append([f"piece of {row.text.prompt}"])
            yield
            if piece == 1 and row.text.prompt == "edit broken":
                raise ValueError("broken")
            if piece == 1 and self.failures:
                raise self.failures.pop()


def _row(name: str, seconds: float = 1.0, steps: int = 2) -> Row:
    return Row(Text(name), seconds, SamplingOptions(seed=3, steps=steps))


def _all(scheduler: Scheduler) -> dict[Ticket, Any]:
    answers: dict[Ticket, Any] = {}
    while scheduler.tickets:
        answers |= dict(scheduler.run_slice())
    return answers


def _scheduler(model: Encoding) -> Scheduler:
    return Scheduler(cast(Any, model))


def test_it_is_prepared_once_before_its_steps() -> None:
    model = Encoding()
    each = _scheduler(model)
    ticket = each.add(_row("edit"))
    assert _all(each)[ticket].tolist() == [3]
    assert model.work == [["piece of edit"]] * PIECES + [["edit"]] * 2 * LAYERS


def test_a_shorter_row_preempts_the_preparation() -> None:
    model = Encoding()
    each = _scheduler(model)
    each.add(_row("edit", 60))
    each.run_slice()
    each.add(_row("short", 1))
    _all(each)
    assert model.work[1] == ["short"] and model.work.count(["piece of edit"]) == PIECES


def test_rows_that_it_is_to_join_wait_for_one_piece_at_a_time() -> None:
    model = Encoding(overhead=1e6)
    each = _scheduler(model)
    each.add(_row("first", steps=20))
    each.run_slice()
    each.add(_row("edit", steps=20))
    _all(each)
    pieces = [index for index, batch in enumerate(model.work) if batch == ["piece of edit"]]
    assert len(pieces) == PIECES and max(pieces) <= (LAYERS + 1) * PIECES
    assert {later - earlier for earlier, later in pairwise(pieces[1:])} == {LAYERS + 1}
    together = [index for index, batch in enumerate(model.work) if batch == ["edit", "first"]]
    assert len(together) >= 8 * LAYERS and min(together) > max(pieces)


def test_several_are_prepared_and_share_a_batch() -> None:
    model = Encoding(overhead=1e6)
    each = _scheduler(model)
    tickets = [each.add(_row(f"edit {number}", steps=40)) for number in range(3)]
    assert _all(each).keys() == set(tickets)
    assert ["edit 0", "edit 1", "edit 2"] in model.work


def test_takes_are_prepared_once_and_take_all_steps_together() -> None:
    model = Encoding()
    each = _scheduler(model)
    for number in range(3):
        each.add(_row(f"edit {number}", steps=2), request=model)
    _all(each)
    assert model.work == [["piece of edit 0"]] * PIECES + [["edit 0", "edit 1", "edit 2"]] * 2 * LAYERS


def test_one_that_fails_fails_alone() -> None:
    model = Encoding(overhead=1e6)
    each = _scheduler(model)
    good, bad = each.add(_row("first")), each.add(_row("edit broken"))
    answers = _all(each)
    assert answers[good].tolist() == [3] and isinstance(answers[bad], ValueError)


def test_one_that_lacks_memory_is_prepared_again_when_there_is_some() -> None:
    model = Encoding(overhead=1e6)
    model.failures = [torch.OutOfMemoryError("out of memory")]
    each = _scheduler(model)
    first, edit = each.add(_row("first", steps=9)), each.add(_row("edit"))
    answers = _all(each)
    assert answers[first].tolist() == answers[edit].tolist() == [3]
    assert model.work.count(["piece of edit"]) == PIECES + 2


def test_one_that_is_cancelled_leaves_the_others() -> None:
    model = Encoding(overhead=1e6)
    each = _scheduler(model)
    first, edit = each.add(_row("first")), each.add(_row("edit"))
    for _ in range(6):
        each.run_slice()
    each.drop(edit)
    assert _all(each).keys() == {first}


def test_the_estimate_counts_the_preparation() -> None:
    now = [0.0]

    def timer() -> float:
        now[0] += 0.5
        return now[0]

    model = Encoding()
    each = Scheduler(cast(Any, model), timer)
    each.add(_row("edit"))
    _all(each)
    assert each.cost.preparing == pytest.approx((PIECES + 1) * 0.5 / 5)
    plain, edit = each.add(_row("plain")), each.add(_row("edit", 2))
    left = {ticket: eta.seconds_left or 0.0 for ticket, eta in estimate(each).items()}
    assert left[edit] - left[plain] > 5 * each.cost.preparing
    each.run_slice()
    each.drop(plain)
    each.run_slice()
    assert each.expected_seconds == pytest.approx(5 * each.cost.preparing)
