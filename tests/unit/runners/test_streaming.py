"""Rows that give their audio away while they are made, and the messages in which it travels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.base import Interruptible, Row
from runners.messages import LatentsMessage, TrackAnswer
from runners.scheduler import Scheduler, Ticket
from runners.stream_messages import answer_message, messages, samples_message
from tests.unit.runners.test_scheduler import Count, Counting, _all, _row


class Streaming(Counting):
    """Gives a piece away after every second step of a row: the number of steps that are left."""

    def __init__(self, fails: Exception | None = None, **options: float) -> None:
        super().__init__(**options)
        self.fails = fails
        self.given: dict[int, int] = {}  # by the id of a run: the steps that were left at its last piece

    def next_piece(self, run: Count, row: Row) -> Interruptible | None:
        if run.steps_left % 2 or self.given.get(id(run), row.options.steps) == run.steps_left:
            return None
        return self._piece(run, row)

    def _piece(self, run: Count, row: Row) -> Interruptible:
        yield
        if self.fails and run.steps_left <= 2:
            raise self.fails
        self.given[id(run)] = run.steps_left
        assert row.emit
        row.emit(np.array([[run.steps_left]], np.float32))


def _streamed(name: str, pieces: list[int], steps: int, seed: int = 0) -> Row:
    return replace(_row(name, 1, steps, seed), emit=lambda piece: pieces.append(int(piece[0, 0])))


def test_pieces_come_between_the_steps_that_all_rows_share() -> None:
    model, one, two = Streaming(overhead=15), list[int](), list[int]()
    each = Scheduler(cast(Any, model))
    rows = [_streamed("one", one, 8, 1), _row("plain", 1, 8, 2), _streamed("two", two, 6, 3)]
    tickets = [each.add(row) for row in rows]
    answers = _all(each)
    assert (one, two) == ([6, 4, 2], [4, 2])
    assert [answers[ticket] for ticket in tickets] == [[1], [2], [3]]
    assert max(map(len, model.work)) == 3 and len(model.work) == 8 * 3, "no step is taken twice"


def test_a_piece_that_fails_is_the_error_of_its_row_alone() -> None:
    model, pieces = Streaming(fails=FloatingPointError("not finite"), overhead=15), list[int]()
    each = Scheduler(cast(Any, model))
    faulty, plain = each.add(_streamed("faulty", pieces, 6)), each.add(_row("plain", 1, 6, 2))
    answers = _all(each)
    assert pieces == [4] and isinstance(answers[faulty], FloatingPointError)
    assert answers[plain] == [2]
    assert max(map(len, model.work)) == 2 and not plain.alone


def test_a_row_that_gave_a_piece_away_does_not_start_again() -> None:
    """Another row that ran out of memory would, once there is more."""
    model, pieces = Streaming(fails=torch.OutOfMemoryError("out of memory"), overhead=15), list[int]()
    each = Scheduler(cast(Any, model))
    short, other = each.add(_streamed("short", pieces, 6)), each.add(_row("plain", 1, 8, 2))
    answers = _all(each)
    assert pieces == [4] and isinstance(answers[short], torch.OutOfMemoryError)
    assert answers[other] == [2]


def test_a_row_that_is_cancelled_amid_a_piece_leaves_the_others_alone() -> None:
    model, pieces = Streaming(overhead=15), list[int]()
    each = Scheduler(cast(Any, model))
    gone, plain = each.add(_streamed("gone", pieces, 6)), each.add(_row("plain", 1, 6, 2))
    while not (gone.group and gone.group.emitting):
        each.run_slice()
    each.drop(gone)
    answers: dict[Ticket, Any] = _all(each)
    assert answers == {plain: [2]}


SAMPLES = [np.random.default_rng(n).normal(size=(2, n)).astype(np.float32) for n in (1, 640, 33)]
END = TrackAnswer(sample_rate=32_000, channels=2, latents=LatentsMessage(values=b"\xff" * 8, channels=2, gain=0.1))
WHOLE = b"".join(map(samples_message, SAMPLES)) + answer_message(END)


def _read(chunks: list[bytes]) -> list[bytes | TrackAnswer]:
    async def received() -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            yield chunk

    async def read() -> list[bytes | TrackAnswer]:
        return [message async for message in messages(received())]

    return asyncio.run(read())


@given(st.lists(st.integers(0, len(WHOLE)), max_size=20))
def test_messages_arrive_in_any_chunks(cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(WHOLE)]
    *samples, end = _read([WHOLE[start:stop] for start, stop in pairwise(ends)])
    assert end == END
    for sent, came in zip(SAMPLES, samples, strict=True):
        assert isinstance(came, bytes)
        assert np.array_equal(np.frombuffer(came, "<f4").reshape(-1, 2).T, sent)


@pytest.mark.parametrize("missing", [1, 100, len(answer_message(END))])
def test_a_stream_without_its_end_is_not_taken_for_the_whole(missing: int) -> None:
    with pytest.raises(EOFError):
        _read([WHOLE[:-missing]])
