"""Queue positions and ETAs: that they are right, and that only the client of a track can read them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import SamplingOptions
from core.errors import Refusal
from models.base import Interruptible, Row, Text
from runners import worker
from runners.eta import estimate
from runners.messages import TrackAnswer, TrackRequest
from runners.scheduler import MAX_ROWS, Scheduler, Ticket
from runners.step_cost import StepCost
from runners.worker import Worker
from tests.api import PATIENCE, Api, Json, checked, error_of
from tests.unit.runners.test_scheduler import LAYERS, Counting, Counts

PACE, FINISHING = 0.25, 0.5
WARM_STEPS = 5


class Timed(Counting):
    """A model with its own clock, whose device takes PACE seconds for a unit of cost."""

    def __init__(self, overhead: float) -> None:
        super().__init__(overhead)
        self.now = 0.0

    def batch(self, runs: Any) -> Any:
        return TimedCounts(self, runs)

    def finish(self, run: Any, row: Row) -> Any:
        self.now += FINISHING * row.seconds
        return (yield from super().finish(run, row))


class TimedCounts(Counts):
    def step(self) -> Interruptible:
        model = cast("Timed", self.model)
        for _ in super().step():
            model.now += PACE * (model.overhead + sum(run.row.seconds for run in self.runs)) / LAYERS
            yield


def scheduler_of(model: Timed) -> Scheduler:
    return Scheduler(cast(Any, model), timer=lambda: model.now)


def run(each: Scheduler) -> Ticket | None:
    """Run a slice; the ticket that it completes."""
    answered = each.run_slice()
    return answered[0][0] if answered else None


def warm(model: Timed) -> Scheduler:
    """A scheduler that has timed some steps and a decoding."""
    each = scheduler_of(model)
    each.add(_row(1.0, WARM_STEPS))
    while each.tickets:
        run(each)
    return each


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.01)


def _row(seconds: float, steps: int, batch_key: str | None = None) -> Row:
    return Row(Text("x", key=batch_key), seconds, SamplingOptions(seed=0, steps=steps))


_ROWS = st.builds(_row, st.sampled_from([1.0, 4.0, 30.0]), st.integers(1, 12), st.sampled_from([None, None, "a"]))


@given(
    overhead=st.sampled_from([0.5, 10.0, 1e3]), rows=st.lists(_ROWS, min_size=1, max_size=12), slices=st.integers(0, 40)
)
def test_etas_come_true(overhead: float, rows: list[Row], slices: int) -> None:
    """Without new rows, but for the steps under way and those that aging reorders."""
    model = Timed(overhead)
    each = warm(model)
    for row in rows:
        each.add(row)
    for _ in range(slices):
        run(each)
    etas = estimate(each)
    assert etas.keys() == set(each.tickets)
    start, ends = model.now, dict[Ticket, float]()
    firsts = {ticket for ticket, eta in etas.items() if eta.ahead == 0}
    assert firsts or not etas
    while each.tickets:
        if (ticket := run(each)) is not None:
            ends[ticket] = model.now - start
    for ticket, end in ends.items():
        eta = etas[ticket]
        assert 0 <= eta.progress <= 1
        assert eta.seconds_left is not None
        step = PACE * (overhead + 8 * 30)
        assert eta.seconds_left == pytest.approx(end, abs=4 * step), (eta, end)


def test_a_waiting_row_knows_how_many_rows_are_ahead() -> None:
    model = Timed(0.1)
    each = warm(model)
    long, middle, short = (each.add(_row(seconds, 4)) for seconds in (30.0, 10.0, 4.0))
    for _ in range(LAYERS + 1):
        run(each)
    etas = estimate(each)
    assert [etas[ticket].ahead for ticket in (short, middle, long)] == [0, 1, 2]
    assert etas[short].running and not etas[middle].running
    assert etas[short].progress == pytest.approx(1 / 4) and etas[long].progress == 0
    late = each.add(_row(1.0, 1))
    etas = estimate(each)
    assert etas[late].ahead <= 1 and etas[long].ahead == 3, "a shorter one goes first, and says so"


def test_rows_of_one_batch_are_not_ahead_of_each_other() -> None:
    each = warm(Timed(1e3))
    tickets = [each.add(_row(1.0, 3)) for _ in range(4)]
    run(each)
    etas = estimate(each)
    assert [etas[ticket].ahead for ticket in tickets] == [0] * 4
    assert all(etas[ticket].running for ticket in tickets)


def test_there_is_no_time_before_steps_are_timed() -> None:
    each = scheduler_of(Timed(1.0))
    ticket = each.add(_row(1.0, 3))
    assert estimate(each)[ticket].seconds_left is None


@given(overhead=st.floats(5, 300), pace=st.floats(1e-6, 1.0), kinds=st.lists(st.floats(1, 1e3), min_size=1, max_size=9))
def test_the_cost_of_steps_is_learnt(overhead: float, pace: float, kinds: list[float]) -> None:
    """Whatever the estimate: the total time always, and the overhead where steps differ."""
    cost, costs = StepCost(40.0), (kinds * 300)[:300]
    for each in costs:
        cost.stepped(each, pace * (overhead + each))
    assert cost.pace is not None
    if max(kinds) > 4 * min(kinds) + 100:
        assert cost.overhead == pytest.approx(overhead, rel=0.5, abs=20)
    predicted = sum(cost.pace * cost.of(each) for each in kinds)
    assert predicted == pytest.approx(sum(pace * (overhead + each) for each in kinds), rel=0.1)


def test_equal_steps_leave_the_overhead_as_estimated() -> None:
    cost = StepCost(15.0)
    for _ in range(200):
        cost.stepped(1.0, 0.016)
    assert cost.overhead == pytest.approx(15.0)
    assert cost.pace == pytest.approx(0.001)


def test_a_full_queue_says_when_there_is_room() -> None:
    """The time until the first batch is done, not the last one."""

    async def scenario() -> None:
        model = Timed(1.0)
        each = Worker(warm(model))
        model.go.clear()
        model.come.clear()
        many = [asyncio.create_task(each.track(_row(30.0, 8))) for _ in range(worker.MAX_TRACKS)]
        await asyncio.sleep(0)
        model.come.set()  # all rows are queued when the first batch is chosen
        await until(lambda: len(model.work) == WARM_STEPS * LAYERS + LAYERS)
        with pytest.raises(Refusal, match=r"try again in \d+ s") as refused:
            await each.track(_row(1.0, 1))
        first = 8 * PACE * (1 + MAX_ROWS * 30) + FINISHING * 30
        assert refused.value.wait == pytest.approx(first, rel=0.05)
        model.go.set()
        await asyncio.wait_for(asyncio.gather(*many), PATIENCE)

    asyncio.run(scenario())


def test_an_eta_is_known_until_the_row_is_done_or_cancelled() -> None:
    async def scenario() -> None:
        model = Timed(1.0)
        each = Worker(warm(model))
        model.go.clear()
        first = asyncio.create_task(each.track(_row(1.0, 2), queue_key="first"))
        second = asyncio.create_task(each.track(_row(20.0, 2), queue_key="second"))
        await until(lambda: each.eta("second"))
        eta = each.eta("second")
        assert eta is not None and eta.ahead == 1 and not eta.running
        assert each.eta("third") is None
        second.cancel()
        model.go.set()
        await first
        assert each.eta("first") is None and each.eta("second") is None

    asyncio.run(scenario())


def test_the_wait_goes_from_the_runner_to_the_client() -> None:
    from core.asgi.responses import answer_or_error
    from core.settings import Settings
    from runners import TABLE
    from runners.clients import Runners

    class Full:
        @property
        def to_async(self) -> Full:
            return self

        async def generate(self, request: Any) -> TrackAnswer:
            return TrackAnswer(error="64 requests are being served already", status=503, wait=41)

    backend = TABLE.choose("ace_step", Settings())
    request = TrackRequest(text=Text("x"), seconds=1, options=SamplingOptions(seed=1), timeout=1)
    answer = asyncio.run(answer_or_error(Runners({"ace_step": Full()}, Settings()).generate(backend, request)))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "41")


# Over HTTP


def ask(api: Api, request_id: str) -> httpx.Response:
    return api.client.get(f"/queue/{request_id}")


def test_positions_of_three_tracks(api: Api) -> None:
    """Each position is known while its track waits and runs, advances, and is gone when the track is done."""
    ids = [str(uuid.uuid4()) for _ in range(3)]
    seen: dict[str, list[Json]] = {each: [] for each in ids}

    def generate(request_id: str) -> Json:
        body = {"prompt": "dark", "duration_seconds": 60, "steps": 100, "response": "url"}
        return checked(api.client.post("/generate", json=body, headers={"x-request-id": request_id}))

    with ThreadPoolExecutor(len(ids)) as pool:
        made = [pool.submit(generate, each) for each in ids]
        while not all(each.done() for each in made):
            for each in ids:
                answer = ask(api, each)
                if answer.status_code == 200:
                    seen[each].append(answer.json())
            time.sleep(0.1)
        assert [each.result()["backend"] for each in made] == ["ace_step"] * len(ids)
    for each in ids:
        positions = seen[each]
        assert positions and all(position["request_id"] == each for position in positions)
        told = [position for position in positions if position["state"] in ("waiting", "making")]
        known = positions[positions.index(told[0]) : positions.index(told[-1])]
        assert all(position["state"] != "unknown" for position in known), "only between two processes"
        assert told and all(position["backend"] == "ace_step" for position in told)
        progress = [position["progress"] for position in told]
        assert progress == sorted(progress) and progress[-1] > 0
        assert any(position["seconds_left"] for position in told)
        assert error_of(ask(api, each), 404).startswith("request_id:")
    assert any(position["ahead"] for positions in seen.values() for position in positions)


@pytest.mark.parametrize("request_id", ["nobody", "a%0Ab", "a" * 300, "%2e%2e%2fjobs"])
def test_an_unknown_request_id_is_a_404(api: Api, request_id: str) -> None:
    error_of(ask(api, request_id), 404)
