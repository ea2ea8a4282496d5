"""A large body of `/store-upload` goes to disk as it comes: as JSON in memory it takes three times its size."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.asgi.responses import error_response
from core.disk import temporary_space
from core.errors import Refusal

# Up to here a body stays in memory.
SMALL = 2**18
_PIECE = 2**20


class UploadSpool:
    """ASGI middleware. Inside of what limits bodies, and of what cancels requests whose client has gone.

    Args:
        store: answers the request whose body, over SMALL, is in this file.
    """

    def __init__(self, app: ASGIApp, store: Callable[[io.FileIO], Awaitable[Response]]) -> None:
        self.app = app
        self.store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["method"], scope["path"]) != ("POST", "/store-upload"):
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
    """Write the body to the file as it comes. Returns its size; None if it does not come to its end."""
    size = 0
    more = True
    pending = bytearray()
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        more = message.get("more_body", False)
        pending += message.get("body", b"")
        if len(pending) >= _PIECE or not more:
            with temporary_space():
                await asyncio.to_thread(file.write, bytes(pending))
            size += len(pending)
            pending.clear()
    return size


def _replayed(file: Any, size: int | None, receive: Receive) -> Receive:
    """The body in one piece; then whatever the client does."""
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
