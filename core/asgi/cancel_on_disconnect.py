"""Cancels the work of a request whose client has closed the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.asgi.responses import CLIENT_GONE, error_response


class CancelOnDisconnect:
    """ASGI middleware: cancels the handler if the client disconnects before the answer, which servers do not do.

    Args:
        applies: whether a request's handler may be cancelled.
    """

    def __init__(self, app: ASGIApp, applies: Callable[[Scope], bool]) -> None:
        self.app = app
        self.applies = applies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self.applies(scope):
            await self.app(scope, receive, send)
            return
        body_received = asyncio.Event()
        if scope["method"] in ("GET", "HEAD"):
            body_received.set()

        async def forward() -> Message:
            if body_received.is_set():
                return await asyncio.shield(gone)
            message = await receive()
            if message["type"] != "http.request" or not message.get("more_body", False):
                body_received.set()
            return message

        async def disconnected() -> Message:
            await body_received.wait()  # until then the handler receives the message of the disconnect itself
            while (message := await receive())["type"] != "http.disconnect":
                pass
            return message

        answered = False

        async def note_answer(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        gone: asyncio.Future[Message] = asyncio.ensure_future(disconnected())
        answer = asyncio.ensure_future(self.app(scope, forward, note_answer))
        try:
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                await answer
        finally:
            for task in (answer, gone):
                task.cancel()
            await asyncio.wait((answer, gone))
        if not answered:
            # No client receives it, but the request log has its status.
            await error_response(CLIENT_GONE, "the client closed the connection")(scope, receive, send)
