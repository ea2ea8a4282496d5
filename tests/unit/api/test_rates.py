"""Limits of an asker: requests a minute and at once; and whether the server can serve at all."""

from __future__ import annotations

import asyncio
import gc
import importlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from bentoml._internal.server.http import traffic
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.auth import access, keys
from api.auth.rates import Rates
from api.capacity.liveness import Liveness
from api.capacity.request_limits import Slots
from api.server.request_timeout import RequestTimeout
from storage import Storage
from tests.asgi import Served, answer, answers, bearer, guarded, scope


def test_a_key_has_a_rate(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "Rates", lambda: Rates(lambda: 0.0))
    token = keys.create(store, "web", ["generate"], requests_per_minute=3)
    other = keys.create(store, "web", ["generate"])
    app, _ = guarded(store)
    answers = [answer(app, scope(authorization=bearer(token))) for _ in range(4)]
    assert [status for status, _, _ in answers] == [200, 200, 200, 429]
    assert answers[3][1]["retry-after"] == "20"
    assert answer(app, scope(authorization=bearer(other)))[0] == 200


def test_visitors_of_a_web_app_have_a_rate_each(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "Rates", lambda: Rates(lambda: 0.0))
    token = keys.create(store, "web", ["generate"], requests_per_minute=2, names_visitors=True)
    app, served = guarded(store)

    def ask(visitor: str, token: str = token) -> int:
        return answer(app, scope(authorization=bearer(token), x_visitor_address=visitor))[0]

    for same in (("9.9.9.9", "9.9.9.9", "::ffff:9.9.9.9"), ("2001:db8::1", "2001:db8::2", "2001:DB8:0::ffff:1")):
        assert [ask(visitor) for visitor in same] == [200, 200, 429]
    assert ask("2001:db8:0:1::1") == 200
    assert served.asked[0][1]["headers"] == []  # it goes no further
    for wrong in ("", "localhost", "9.9.9.9, 8.8.8.8", "9.9.9.9:80", "x" * 1000):
        assert ask(wrong) == 400
    # All of them together may do as much as twenty.
    assert [ask(f"8.8.8.{number}") for number in range(40)].count(200) == 2 * 20 - 5
    # A key that names none is asked for itself.
    own = keys.create(store, "ada", ["generate"], requests_per_minute=2)
    app, _ = guarded(store)
    assert [ask(f"8.8.8.{number}", own) for number in range(3)] == [200, 200, 429]


# Slots


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=80), st.integers(2, 12))
def test_slots_are_shared(steps: list[tuple[int, bool]], size: int) -> None:
    """No asker holds more slots than were free, and their number stays the same."""
    slots = Slots(size)
    held: dict[str, int] = {}
    for number, takes in steps:
        who, before = str(number), slots.free
        if takes:
            assert slots.take([who], 5) == (held.get(who, 0) < min(before, 5))
            held[who] = held.get(who, 0) + (slots.free < before)
        elif held.get(who):
            slots.give_back([who])
            held[who] -= 1
        assert slots.free == size - sum(held.values()) >= 0


def test_a_newcomer_finds_a_slot_beside_greedy_ones() -> None:
    slots = Slots(60)
    for who in ("a", "b", "c"):
        while slots.take([who], None):
            pass
    assert slots.take(["newcomer"], None)


def test_no_slot_for_long_is_a_fault() -> None:
    now = 0.0
    slots = Slots(2, lambda: now)
    assert slots.take(["a"], None) and slots.take(["b"], None)
    now = 20.0
    assert slots.full_seconds() == 20.0
    slots.give_back(["a"])
    assert slots.full_seconds() == 0.0


@pytest.mark.slow
def test_a_pool_that_takes_no_work_is_a_fault() -> None:
    async def live() -> list[str | None]:
        ends, pool = threading.Event(), ThreadPoolExecutor(1)
        pulse = Liveness({"slow work": pool}, patience=0.5)
        found = [pulse.fault()]
        pool.submit(ends.wait)
        end = time.monotonic() + 30
        while not (found[-1]) and time.monotonic() < end:
            await asyncio.sleep(0.2)
            found.append(pulse.fault())
        ends.set()
        while found[-1] and time.monotonic() < end:
            await asyncio.sleep(0.2)
            found.append(pulse.fault())
        time.sleep(2)
        await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        return [*found, pulse.fault()]

    said = asyncio.run(live())
    assert said[0] is None
    assert said[-2] is None
    assert any(word and "slow work" in word for word in said)
    assert "blocked" in str(said[-1])


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 20))
def test_no_more_pass_than_a_bucket_lets(pauses: list[float], per_minute: int) -> None:
    now = 0.0
    rates = Rates(lambda: now)
    passed: list[float] = []
    for pause in pauses:
        now += pause
        wait = rates.wait("x", per_minute)
        if not wait:
            passed.append(now)
        else:
            now += wait
            assert rates.wait("x", per_minute) == 0  # what was promised is kept
            passed.append(now)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            assert last - first + 1 <= per_minute + (passed[last] - passed[first]) * per_minute / 60 + 1e-3


def test_preflights_have_a_rate(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "Rates", lambda: Rates(lambda: 0.0))
    app, _ = guarded(store, key_requests_per_minute=3)
    asked = [scope("/generate", "OPTIONS", client=f"2001:db8::{number}") for number in range(4)]
    assert [asyncio.run(answers(app, each))[0]["status"] for each in asked] == [204, 204, 204, 429]
    assert asyncio.run(answers(app, scope("/", "OPTIONS", client="10.0.0.5")))[0]["status"] == 204


# Time


@pytest.mark.slow
def test_a_timer_ends_with_its_request() -> None:
    def timers() -> int:
        gc.collect()
        return sum(type(each) is asyncio.TimerHandle for each in gc.get_objects())  # isinstance asks weak proxies

    async def many() -> int:
        app = RequestTimeout(Response(status_code=204), 86_400.0)
        before = timers()
        for _ in range(1000):
            await answers(app, scope())
            await asyncio.sleep(0)
        return timers() - before

    assert asyncio.run(many()) < 300
    assert importlib.import_module("service").ProducerTwin
    assert traffic.TimeoutMiddleware is RequestTimeout  # type: ignore[comparison-overlap]


def test_an_answer_that_does_not_begin_is_given_up() -> None:
    class Slow(Served):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.sleep(30)

    status, _, document = answer(RequestTimeout(Slow(), 0.05), scope())
    assert (status, document) == (504, {"error": "no answer within 0.05 s"})
    assert answer(RequestTimeout(Served(), 30.0), scope())[0] == 200


def test_an_answer_that_began_may_take_longer() -> None:
    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.3)
        await send({"type": "http.response.body", "body": b"{}"})

    assert answer(RequestTimeout(stream, 0.1), scope())[0] == 200
