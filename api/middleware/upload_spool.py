"""Writes a large body of `/store-upload` to disk as it arrives. Parsed in memory, JSON takes three times its size."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.routes.table import route_of
from core.asgi.responses import error_response
from core.disk import temporary_space
from core.errors import Refusal

# A body up to this size stays in memory.
SMALL = 2**18
_CHUNK = 2**20


class UploadSpool:
    """ASGI middleware, inside of BodyLimits and CancelOnDisconnect.

    Args:
        store: answers a request from its body in a file; called if the body is larger than SMALL.
    """

    def __init__(self, app: ASGIApp, store: Callable[[io.FileIO], Awaitable[Response]]) -> None:
        self.app = app
        self.store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not route_of(scope).spooled:
            await self.app(scope, receive, send)
            return
        with tempfile.SpooledTemporaryFile(SMALL) as file:
            try:
                size = await _received(receive, file)
            except Refusal as refusal:
                await error_response(refusal.status, refusal.message)(scope, receive, send)
                return
            if size is None or size <= SMALL:
                await self.app(scope, _replayed(file, size, receive), send)
                return
            file.flush()
            answer = await self.store(io.FileIO(file.fileno(), closefd=False))
        await answer(scope, receive, send)


async def _received(receive: Receive, file: Any) -> int | None:
    """Write the body to the file as it comes. Returns its size; None if the client disconnects before its end."""
    size = 0
    more = True
    pending = bytearray()
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        more = message.get("more_body", False)
        pending += message.get("body", b"")
        if len(pending) >= _CHUNK or not more:
            with temporary_space():
                await asyncio.to_thread(file.write, bytes(pending))
            size += len(pending)
            pending.clear()
    return size


def _replayed(file: Any, size: int | None, receive: Receive) -> Receive:
    """A `receive` that returns the body as one message, and then the messages of the client."""
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if size is None:
            return {"type": "http.disconnect"}
        if sent:
            return await receive()
        sent = True
        file.seek(0)
        return {"type": "http.request", "body": file.read(), "more_body": False}

    return replay
