"""A client that goes away takes its request with it: what nobody waits for any more is not worked on."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATHS = {"/generate"}


class Leaving:
    """ASGI middleware: cancels the handler when the connection ends before the answer, which servers do not do."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in PATHS:
            await self.app(scope, receive, send)
            return
        read: list[Message] = []
        while not read or read[-1].get("more_body", False):
            read.append(await receive())
        gone: asyncio.Future[Message] = asyncio.ensure_future(_disconnected(receive))

        async def replay() -> Message:
            return read.pop(0) if read else await asyncio.shield(gone)

        answer = asyncio.ensure_future(self.app(scope, replay, send))
        try:
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                await answer
        finally:
            for task in (answer, gone):
                task.cancel()
            await asyncio.wait((answer, gone))


async def _disconnected(receive: Receive) -> Message:
    while (message := await receive())["type"] != "http.disconnect":
        pass
    return message
