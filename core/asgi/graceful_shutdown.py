"""SIGTERM: nothing new is taken, what is under way has a while to end, and then the process ends, whatever it does.

The server underneath would leave new connections unanswered until it is gone, and wait for old ones without end.
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

# A service behind a front serves what the front took before it was told itself, and lets it have the last word.
_BEHIND_SECONDS = 1.0
# Beyond what is under way: for trainings that save what they have.
_LAST_SECONDS = 25.0
# Ctrl-C comes as two signals; a later one is of somebody who does not want to wait.
_IMPATIENT_SECONDS = 1.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_STOPPING = "the server is being stopped; send the request again in some seconds"


class GracefulShutdown:
    """ASGI middleware, for the one service of a process.

    Args:
        seconds: what is under way has so long; what has not ended then is refused.
        behind: the service is behind a front, which refuses what is new.
    """

    def __init__(self, app: ASGIApp, seconds: float, behind: bool = False) -> None:
        self.app = app
        self.seconds = seconds
        self.behind = behind
        self._since: float | None = None  # when it was told
        self._under_way: set[asyncio.Future[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._listen()
        if scope["type"] != "http" or scope["path"] == "/livez":
            await self.app(scope, receive, send)
        elif self._since is not None and not self.behind:
            await error_response(503, _STOPPING)(scope, receive, send)
        else:
            await self._see_through(scope, receive, send)

    async def _see_through(self, scope: Scope, receive: Receive, send: Send) -> None:
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
        """In place of the server's own handlers, which have their turn afterwards."""
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
                last = threading.Timer(self.seconds + _LAST_SECONDS, os._exit, (0,))
                last.daemon = True
                last.start()
                asyncio.run_coroutine_threadsafe(close(), loop)
            elif number == signal.SIGINT and time.monotonic() - self._since > _IMPATIENT_SECONDS:
                leave(number, frame)

        for number in _SIGNALS:
            signal.signal(number, hear)

    async def _close(self) -> None:
        """See what is under way through, or refuse what does not end in time."""
        start = time.monotonic()
        longer = _BEHIND_SECONDS if self.behind else 0.0
        while (took := time.monotonic() - start) < self.seconds + longer:
            if not self._under_way and took >= longer:
                break
            await asyncio.sleep(0.05)
        for answer in list(self._under_way):
            answer.cancel()
