"""Request bodies: their size, their number of values, their speed, and the memory of all of them."""

from __future__ import annotations

import pytest
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from api.middleware.body_limits import BodyLimits
from core.settings import Settings
from storage import Storage
from tests.asgi import Served, answer, part, scope


def test_a_body_that_stops_is_refused() -> None:
    app = BodyLimits(Served(), Settings(body_silence_seconds=0.05))
    status, _, document = answer(app, scope("/generate", "POST"), part(10, more=True), wait=True)
    assert (status, "0.05 s" in document["error"]) == (408, True)


def test_a_disconnect_within_a_body_is_not_an_error_of_the_service() -> None:
    """Even if the handler fails at the half of a body that it got."""

    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await Response(status_code=500)(scope, receive, send)

    status, _, document = answer(BodyLimits(fails, Settings()), scope("/generate", "POST"), part(10, more=True))
    assert (status, "closed" in document["error"]) == (499, True)


def test_a_slow_body_is_refused(store: Storage) -> None:
    """A few bytes now and then are too slow; a body that comes steadily may take any time."""
    for size, status in ((10, 408), (2**16, 200)):
        app = BodyLimits(Served(), Settings(body_silence_seconds=0.2))
        pieces = [part(size, more=True)] * 7 + [part(size)]
        assert answer(app, scope("/generate", "POST"), *pieces, pause=0.08)[0] == status


def test_bodies_share_the_memory() -> None:
    """All of it is free again after requests that were refused or answered."""
    served = Served()
    app = BodyLimits(served, Settings(max_bodies_bytes=2000))
    for _ in range(3):
        assert answer(app, scope("/generate", "POST"), part(600, more=True), part(400))[0] == 200
        status, headers, _ = answer(app, scope("/generate", "POST"), part(600, more=True), part(401))
        assert (status, headers["retry-after"]) == (503, "5")
        assert app.memory.left == 2000
    assert answer(app, scope("/uploads", "POST"), part(5000))[0] == 200  # goes to disk
    assert answer(app, scope("/store-upload", "POST"), part(5000))[0] == 200  # as well


def test_the_declared_length_is_taken_at_once() -> None:
    app = BodyLimits(Served(), Settings(max_bodies_bytes=2000))
    taken: list[int] = []

    async def look(asked: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            taken.append(2000 - app.memory.left)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    app.app = look
    assert answer(app, scope("/generate", "POST", content_length="900"), part(100, more=True), part(800))[0] == 200
    assert taken == [900] and app.memory.left == 2000
    assert answer(app, scope("/generate", "POST", content_length="1001"), part(1001))[0] == 503


def test_one_asker_leaves_as_much_memory_as_it_holds() -> None:
    memory = BodyLimits(Served(), Settings(max_bodies_bytes=1000)).memory
    ada, bob = memory.of(["web", "web, visitor ada"]), memory.of(["bob"])
    assert ada(500) and not ada(1) and not memory.of(["web", "web, visitor eve"])(1)
    assert bob(250) and not bob(1)
    assert ada(-500) and bob(1)


@pytest.mark.parametrize("value", [b"[],", b"{},", b"1,", b"["])
@pytest.mark.parametrize("path", ["/generate", "/train", "/store-upload", "/loras/a:b/retrain"])
def test_a_body_of_too_many_values_is_not_parsed(path: str, value: bytes) -> None:
    """Parsing 8 MiB of lists takes 0.7 GB and blocks the event loop for seconds."""
    app = BodyLimits(Served(), Settings())
    body: Message = {"type": "http.request", "body": value * 1_000_000, "more_body": False}
    status, _, document = answer(app, scope(path, "POST"), body)
    assert (status, "100000 values" in document["error"]) == (413, True)
    body["body"] = value * 30_000
    assert answer(app, scope(path, "POST"), body)[0] == 200


def test_plain_json_has_a_smaller_limit_than_uploads() -> None:
    app = BodyLimits(Served(), Settings())
    asked = scope("/generate", "POST", content_length=str(9 * 2**20))
    assert answer(app, asked)[0] == 413
    asked = scope("/store-upload", "POST", content_length=str(9 * 2**20))
    assert answer(app, asked)[0] == 200
