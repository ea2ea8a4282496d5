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
        self._signalled_at: float | None = None
        self._under_way: set[asyncio.Future[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._handle_signals()
        if scope["type"] != "http" or scope["path"] == "/livez":
            await self.app(scope, receive, send)
        elif self._signalled_at is not None and not self.behind:
            await error_response(503, _STOPPING)(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        answer: asyncio.Future[None] = asyncio.ensure_future(self.app(scope, receive, send_and_note))
        self._under_way.add(answer)
        try:
            await asyncio.wait((answer,))
        finally:
            self._under_way.discard(answer)
            answer.cancel()
        if not answer.cancelled():
            answer.result()
        elif not started:
            await error_response(503, _STOPPING)(scope, receive, send)

    def _handle_signals(self) -> None:
        """Handle the signals in place of the server, whose own handlers are called at the end."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        server_handlers = {int(number): signal.getsignal(number) for number in _SIGNALS}

        def call_server_handler(number: int, frame: FrameType | None = None) -> None:
            if callable(handler := server_handlers[number]):
                handler(number, frame)

        async def close() -> None:
            await self._close()
            call_server_handler(signal.SIGTERM)

        def on_signal(number: int, frame: FrameType | None) -> None:
            if self._signalled_at is None:
                self._signalled_at = time.monotonic()
                forced_exit = threading.Timer(self.seconds + _SAVE_SECONDS, os._exit, (0,))
                forced_exit.daemon = True
                forced_exit.start()
                asyncio.run_coroutine_threadsafe(close(), loop)
            elif number == signal.SIGINT and time.monotonic() - self._signalled_at > _SECOND_SIGNAL_SECONDS:
                call_server_handler(number, frame)

        for number in _SIGNALS:
            signal.signal(number, on_signal)

    async def _close(self) -> None:
        """Wait for the requests under way, and cancel those that do not end in time."""
        start = time.monotonic()
        extra = _BEHIND_SECONDS if self.behind else 0.0
        while (took := time.monotonic() - start) < self.seconds + extra:
            if not self._under_way and took >= extra:
                break
            await asyncio.sleep(0.05)
        for answer in list(self._under_way):
            answer.cancel()
