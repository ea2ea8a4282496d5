"""Requests to ASGI middleware, without a server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from api.auth.access import Access
from api.auth.keys import KeyRing
from api.capacity.request_limits import RequestLimits
from core import principal
from core.principal import Principal
from core.settings import Settings
from storage import Storage


def scope(path: str = "/backends", method: str = "GET", client: str = "127.0.0.1", **headers: str) -> Scope:
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": named,
        "client": (client, 5000),
    }


class Served:
    """An ASGI app that records who asked, reads the body, and answers 200."""

    def __init__(self) -> None:
        self.asked: list[tuple[Principal, Scope]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append((principal.current(), scope))
        while (message := await receive())["type"] == "http.request" and message.get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


def answer(
    app: Any, asked: Scope, *body: Message, wait: bool = False, pause: float = 0
) -> tuple[int, dict[str, str], Any]:
    """Send a request to the app.

    Args:
        app: the ASGI app.
        asked: the request's scope.
        body: the messages that the client sends.
        wait: whether the client stays connected and silent afterwards, instead of disconnecting.
        pause: seconds before each message.

    Returns:
        The status, the headers and the JSON document of the answer.
    """
    pending = list(body or [{"type": "http.request", "body": b"", "more_body": False}])
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(pause)
        if pending:
            return pending.pop(0)
        await asyncio.sleep(60 if wait else 0)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(asked, receive, send))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, json.loads(sent[1]["body"])


def ring(store: Storage) -> KeyRing:
    """A key ring that has just read the keys."""
    read = KeyRing(store)
    read.refresh()
    return read


def bearer(token: str) -> str:
    return f"Bearer {token}"


def guarded(store: Storage, cors: bool = False, **changes: Any) -> tuple[Access, Served]:
    served = Served()
    known, settings = KeyRing(store), Settings(**changes)
    return Access(served, settings, lambda: known, RequestLimits(settings), cors), served


async def answers(app: Any, asked: Scope) -> list[Message]:
    """The messages of the answer to a request whose body must not be read."""
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body was asked for")

    async def send(message: Message) -> None:
        sent.append(message)

    await app(asked, receive, send)
    return sent


def part(size: int, more: bool = False) -> Message:
    return {"type": "http.request", "body": b" " * size, "more_body": more}
