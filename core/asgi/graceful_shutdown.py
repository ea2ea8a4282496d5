"""Graceful shutdown: after SIGTERM new requests are refused, and those under way have a limited time to end.

uvicorn by itself would leave new connections unanswered until it ends, and wait for open ones without limit.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from types import FrameType

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.asgi.responses import error_response

# A service behind the front waits longer, for requests that the front accepted before it received the signal itself.
_BEHIND_SECONDS = 1.0
# Added to the time for requests before the process is ended by force, so that training jobs can save checkpoints.
_SAVE_SECONDS = 25.0
# One Ctrl-C may arrive as two signals; one that comes later than this ends the process at once.
_SECOND_SIGNAL_SECONDS = 1.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_STOPPING = "the server is being stopped; send the request again in some seconds"


class GracefulShutdown:
    """ASGI middleware, for the one service of a process.

    Args:
        seconds: the time that requests under way have to end; the rest are answered with 503.
        behind: the service is behind the front, which refuses new requests; this one still serves them.
    """

    def __init__(self, app: ASGIApp, seconds: float, behind: bool = False) -> None:
        self.app = app
        self.seconds = seconds
        self.behind = behind
        self._since: float | None = None  # the time of the signal
        self._under_way: set[asyncio.Future[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._listen()
        if scope["type"] != "http" or scope["path"] == "/livez":
            await self.app(scope, receive, send)
        elif self._since is not None and not self.behind:
            await error_response(503, _STOPPING)(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        answer: asyncio.Future[None] = asyncio.ensure_future(self.app(scope, receive, noted))
        self._under_way.add(answer)
        try:
            await asyncio.wait((answer,))
        finally:
            self._under_way.discard(answer)
            answer.cancel()
        if not answer.cancelled():
            answer.result()
        elif not begun:
            await error_response(503, _STOPPING)(scope, receive, send)

    def _listen(self) -> None:
        """Handle the signals in place of the server, whose own handlers are called at the end."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        before = {int(number): signal.getsignal(number) for number in _SIGNALS}

        def leave(number: int, frame: FrameType | None = None) -> None:
            if callable(handler := before[number]):
                handler(number, frame)

        async def close() -> None:
            await self._close()
            leave(signal.SIGTERM)

        def hear(number: int, frame: FrameType | None) -> None:
            if self._since is None:
                self._since = time.monotonic()
                last = threading.Timer(self.seconds + _SAVE_SECONDS, os._exit, (0,))
                last.daemon = True
                last.start()
                asyncio.run_coroutine_threadsafe(close(), loop)
            elif number == signal.SIGINT and time.monotonic() - self._since > _SECOND_SIGNAL_SECONDS:
                leave(number, frame)

        for number in _SIGNALS:
            signal.signal(number, hear)

    async def _close(self) -> None:
        """Wait for the requests under way, and cancel those that do not end in time."""
        start = time.monotonic()
        longer = _BEHIND_SECONDS if self.behind else 0.0
        while (took := time.monotonic() - start) < self.seconds + longer:
            if not self._under_way and took >= longer:
                break
            await asyncio.sleep(0.05)
        for answer in list(self._under_way):
            answer.cancel()
