"""Webhooks are delivered at least once, with one id, by any process; and are given up with the reason."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from standardwebhooks.webhooks import Webhook

from api.webhooks import dispatcher as module
from api.webhooks import sender, signature
from api.webhooks.dispatcher import Dispatcher
from core.errors import Refusal
from core.settings import ROOT
from preprocessing.public_network import is_public
from storage import Storage, webhooks, work_keys
from storage.webhooks import CLAIM, RETRY_AFTER, Deliveries, Delivery
from tests.receiver import Receiver, receiving

ACCOUNT = "a" * 32
START = datetime(2026, 11, 29, 12, tzinfo=UTC)


class Event(BaseModel):
    number: int


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving(tmp_path) as running:
        monkeypatch.setenv("SSL_CERT_FILE", running.certificate)
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


def add(store: Storage, url: str, number: int = 0, at: datetime = START) -> None:
    Deliveries(store).add(ACCOUNT, url, "track.done", f"track {number}", Event(number=number), at)


def listed(store: Storage) -> list[Delivery]:
    return list(Deliveries(store).of_account(ACCOUNT))


def marks(store: Storage) -> list[str]:
    return [entry.key for entry in store.list(work_keys.due_webhooks())]


def deliver(store: Storage, clock: Clock, local: bool = True) -> None:
    """Try once what is due, as a new process does."""

    async def run() -> None:
        dispatcher = Dispatcher(store, clock, (lambda address: True) if local else is_public)
        await dispatcher.deliver_due()
        await dispatcher.stop()

    asyncio.run(run())


def test_a_message_is_verified_by_the_standards_own_library(store: Storage, clock: Clock, receiver: Receiver) -> None:
    clock.now = datetime.now(UTC)
    add(store, f"{receiver.url}/hook", 7, clock.now)
    deliver(store, clock)
    [message] = receiver.came
    told = Webhook(Deliveries(store).secret(ACCOUNT)).verify(message.body, message.headers)
    assert told == {"type": "track.done", "timestamp": clock.now.isoformat(), "data": {"number": 7}}
    assert message.headers["content-type"] == "application/json" and message.path == "/hook"
    [delivery] = listed(store)
    assert (delivery.state, delivery.id) == ("delivered", message.headers["webhook-id"])
    assert [each.status for each in delivery.attempts] == [204] and not marks(store)


def test_the_signature_is_that_of_the_published_example() -> None:
    """The test vector of the Standard Webhooks specification's libraries."""
    made = signature.headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_none_is_lost_when_the_receiver_is_down_for_an_hour_and_the_process_is_killed(
    store: Storage, tmp_path: Path, clock: Clock, receiver: Receiver
) -> None:
    for number in range(5):
        add(store, f"{receiver.url}/{number}", number)
    # A process is killed while the receiver has the messages and does not answer.
    receiver.answers.clear()
    script = (
        "import asyncio, datetime\n"
        "from api.webhooks.dispatcher import Dispatcher\n"
        "from storage import open_storage\n"
        f"now = datetime.datetime.fromisoformat('{START.isoformat()}')\n"
        f"dispatcher = Dispatcher(open_storage('{(tmp_path / 'store').as_uri()}'), lambda: now, lambda address: True)\n"
        "asyncio.run(dispatcher.deliver_due())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=os.environ)
    end = time.monotonic() + 60
    while not receiver.came:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    first = {message.path: message.headers["webhook-id"] for message in receiver.came}
    receiver.answers.set()
    receiver.status = {f"/{number}": 503 for number in range(5)}
    for _ in range(12):
        clock.advance(minutes=5)
        deliver(store, clock)
    assert {delivery.state for delivery in listed(store)} == {"pending"}
    assert all(delivery.attempts[-1].error == "it answered 503" for delivery in listed(store))
    receiver.status = {}
    receiver.came.clear()
    for _ in range(12):
        clock.advance(minutes=5)
        deliver(store, clock)
    assert {delivery.state for delivery in listed(store)} == {"delivered"} and not marks(store)
    came = {message.path: message.headers["webhook-id"] for message in receiver.came}
    assert sorted(came) == [f"/{number}" for number in range(5)] and len(set(came.values())) == 5
    assert first.items() <= came.items()


def test_the_waits_grow_and_end_after_a_day(store: Storage, clock: Clock, receiver: Receiver) -> None:
    receiver.status = {"/": 500}
    add(store, f"{receiver.url}/")
    while listed(store)[0].state == "pending":
        due_at = listed(store)[0].due_at
        assert due_at
        clock.now = due_at
        deliver(store, clock)
    [delivery] = listed(store)
    assert delivery.state == "failed" and not marks(store)
    times = [attempt.at for attempt in delivery.attempts]
    waits = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    assert waits == sorted(waits) == list(RETRY_AFTER) and times[-1] - times[0] == timedelta(days=1)
    assert len({message.headers["webhook-id"] for message in receiver.came}) == 1
    assert len({message.headers["webhook-timestamp"] for message in receiver.came}) == len(times)


@pytest.mark.parametrize("url", ["https://127.0.0.1/x", "https://localhost/x", "https://[::1]/x", "https://0x7f.1/x"])
def test_a_private_address_is_refused_and_told(store: Storage, clock: Clock, url: str) -> None:
    add(store, url)
    deliver(store, clock, local=False)
    [delivery] = listed(store)
    assert delivery.state == "failed" and not marks(store)
    assert [attempt.error for attempt in delivery.attempts] == ["its address is not public"]


def test_a_redirect_to_a_private_address_is_refused_and_told(store: Storage, clock: Clock, receiver: Receiver) -> None:
    """The receiver's own address is allowed here, and no other."""
    receiver.status = {"/": 308, "/http": 307, "/moved": 301, "/around": 308, "/ok": 307}
    receiver.location = {
        "/": "https://10.0.0.1/internal",
        "/http": receiver.url.replace("https", "http"),
        "/moved": "/x",
        "/around": "/around",
        "/ok": "/received",
    }
    for number, path in enumerate(receiver.status):
        add(store, f"{receiver.url}{path}", number)

    async def run() -> None:
        dispatcher = Dispatcher(store, clock, lambda address: address.is_loopback)
        await dispatcher.deliver_due()
        await dispatcher.stop()

    asyncio.run(run())
    found = {delivery.url.removeprefix(receiver.url): delivery for delivery in listed(store)}
    errors = {path: delivery.attempts[0].error for path, delivery in found.items()}
    assert errors == {
        "/": "its address is not public",
        "/http": "it redirects to something else than https",
        "/moved": "it answered 301, a redirect that would not keep the message",
        "/around": "more than 3 redirects",
        "/ok": None,
    }
    states = {path: delivery.state for path, delivery in found.items()}
    assert states == {"/": "failed", "/http": "failed", "/moved": "pending", "/around": "pending", "/ok": "delivered"}
    assert json.loads(receiver.came[-1].body)["type"] == "track.done"


def test_a_receiver_that_never_answers_is_given_up_and_told(
    store: Storage, clock: Clock, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "SECONDS", 0.3)
    receiver.answers.clear()
    add(store, receiver.url)
    deliver(store, clock)
    [delivery] = listed(store)
    assert delivery.state == "pending" and delivery.attempts[0].error == "no answer within 0.3 s"
    assert delivery.due_at == START + timedelta(seconds=RETRY_AFTER[0])


def test_gone_is_final(store: Storage, clock: Clock, receiver: Receiver) -> None:
    receiver.status = {"/": 410}
    add(store, f"{receiver.url}/")
    deliver(store, clock)
    assert listed(store)[0].state == "failed"


def test_one_process_makes_each_try(store: Storage) -> None:
    add(store, "https://example.com/")
    one, other = Deliveries(store), Deliveries(store)
    [mark] = one.due(START)
    assert one.claim(mark, START) and other.claim(mark, START) is None
    assert one.due(START) == [] and one.due(START + CLAIM) == marks(store)


def test_what_a_killed_process_leaves_half_written_is_mended(store: Storage) -> None:
    deliveries = Deliveries(store)
    store.put("due_webhooks/0-by-another-program", b"")
    assert deliveries.due(START) == []
    store.delete("due_webhooks/0-by-another-program")
    orphan = work_keys.due_webhook(work_keys.webhook_delivery(ACCOUNT, "msg_x", START), START)
    store.put(orphan, b"")
    assert deliveries.claim(orphan, START) is None and marks(store) == [orphan]
    assert deliveries.claim(orphan, START + timedelta(minutes=2)) is None and not marks(store)
    add(store, "https://example.com/")
    add(store, "https://example.com/")
    assert len(listed(store)) == 1
    [mark] = marks(store)
    store.put(stale := work_keys.due_webhook(listed(store)[0].stored_at, START - CLAIM), b"")
    assert deliveries.claim(stale, START) is None and marks(store) == [mark]


def test_silent_receivers_of_one_account_do_not_hold_up_others(
    store: Storage, clock: Clock, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 3)
    monkeypatch.setattr(module, "AT_ONCE_EACH", 2)
    folder = Path(receiver.certificate).parent / "silent"
    folder.mkdir()
    with receiving(folder) as silent:
        both = folder / "both.pem"
        both.write_text(Path(receiver.certificate).read_text() + Path(silent.certificate).read_text())
        monkeypatch.setenv("SSL_CERT_FILE", str(both))
        silent.answers.clear()
        for number in range(4):
            add(store, silent.url, number)
        Deliveries(store).add("b" * 32, receiver.url, "track.done", "x", Event(number=9), START)

        async def run() -> None:
            dispatcher = Dispatcher(store, clock, lambda address: True)
            trying = asyncio.create_task(dispatcher.deliver_due())
            async with asyncio.timeout(30):
                while not receiver.came:
                    await asyncio.sleep(0.02)
            silent.answers.set()
            await trying
            await dispatcher.stop()

        asyncio.run(run())
    assert len(receiver.came) == 1 and len(silent.came) == 4


def test_a_dispatcher_that_looks_while_an_old_end_is_told_loses_no_message(
    store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An end may be told long after it was, when storage was away or a process was killed."""
    now, put = START + timedelta(hours=1), store.put
    other = Deliveries(store)

    def put_and_look(key: str, *given: Any, **named: Any) -> str:
        etag = put(key, *given, **named)
        if not listed(store):
            for mark in marks(store):
                other.claim(mark, now)
        return etag

    monkeypatch.setattr(store, "put", put_and_look)
    add(store, "https://example.com/")
    monkeypatch.undo()
    [mark] = other.due(now)
    assert other.claim(mark, now)


def test_a_mark_whose_delivery_is_about_to_be_written_is_kept(store: Storage) -> None:
    add(store, "https://example.com/")
    deliveries = Deliveries(store)
    [claimed_mark] = deliveries.due(START)
    early = work_keys.due_webhook(listed(store)[0].stored_at, START + CLAIM)
    store.put(early, b"")  # another process claims the delivery, and is slow to write it
    assert deliveries.claim(early, START + CLAIM) is None and marks(store) == [claimed_mark, early]


def test_many_messages_of_one_account_do_not_hide_those_of_others(
    store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_MARKS_OF_A_PAGE", 4)
    monkeypatch.setattr(webhooks, "MAX_DUE_EACH", 3)
    for number in range(10):
        add(store, "https://example.com/", number, START - timedelta(minutes=1))
    Deliveries(store).add("b" * 32, "https://example.com/", "track.done", "x", Event(number=9), START)
    due = Deliveries(store).due(START)
    assert [Deliveries(store).account_of(mark) for mark in due] == [ACCOUNT] * 3 + ["b" * 32]


def test_requests_with_webhooks_wait_while_many_of_the_account_are_not_delivered(
    store: Storage, clock: Clock, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "MAX_PENDING_EACH", 2)
    deliveries = Deliveries(store)
    for number in range(2):
        deliveries.check_room(ACCOUNT)
        add(store, f"{receiver.url}/hook", number)
    with pytest.raises(Refusal, match=r"^webhook_url: 2 messages to you are not delivered yet") as refused:
        deliveries.check_room(ACCOUNT)
    assert refused.value.status == 429 and refused.value.wait
    deliveries.check_room("b" * 32)
    deliver(store, clock)
    deliveries.check_room(ACCOUNT)
