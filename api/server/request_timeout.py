"""The time until an answer must begin: `traffic.timeout` of configuration.yaml.

BentoML's own timer stays in memory until it fires: half a kilobyte of every request, for a day.
"""

from __future__ import annotations

import asyncio

from bentoml._internal.server.http import traffic
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.asgi.responses import error_response


def install() -> None:
    """Use `RequestTimeout` in every BentoML application that this process makes from now on."""
    traffic.TimeoutMiddleware = RequestTimeout  # type: ignore[misc, assignment]


class RequestTimeout:
    """ASGI middleware: answers 504 if no answer has begun in time.

    Args:
        timeout: in seconds.
    """

    def __init__(self, app: ASGIApp, timeout: float) -> None:
        self.app = app
        self.timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            if not begun:
                begun = True
                timer.reschedule(None)
            await send(message)

        try:
            async with asyncio.timeout(self.timeout) as timer:
                await self.app(scope, receive, noted)
        except TimeoutError:
            if not timer.expired():
                raise
            await error_response(504, f"no answer within {self.timeout:g} s")(scope, receive, send)
