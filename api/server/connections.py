"""Limits on the connections of the public port: their number, and the time that a client may be idle.

uvicorn waits without limit for the head of a request, and for a client to read its answer. BentoML has no option for
another protocol class, so `install` puts this one into uvicorn's table.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import select
import socket
import time
from typing import Any

import h11
from uvicorn import config as uvicorn_config
from uvicorn.protocols.http.h11_impl import H11Protocol

from core import metrics
from core.settings import settings

log = logging.getLogger("producer_twin.edge")

_POLL_SECONDS = 1.0
# Open files beside the connections: storage, libraries, uploads on disk.
_OTHER_FILES = 512
# The client must read this many bytes of an answer, or its rest, within each `unread_seconds`.
_MIN_BYTES = 2**16
_WARN_SECONDS = 60.0

_warned_at = -_WARN_SECONDS


def install() -> None:
    """Serve with `PublicProtocol` in this process, and raise its limit of open files accordingly."""
    uvicorn_config.HTTP_PROTOCOLS["auto"] = f"{__name__}:PublicProtocol"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings().max_connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class _Connection(h11.Connection):
    """h11's connection, which refuses requests with both a length and chunks: a proxy may see another end of them (RFC
    9112, section 6.1)."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        event = super().next_event()
        if isinstance(event, h11.Request):
            names = {name for name, _ in event.headers}
            if {b"content-length", b"transfer-encoding"} <= names:
                raise h11.RemoteProtocolError("a length and chunks")
        return event


class PublicProtocol(H11Protocol):
    """HTTP/1.1 by uvicorn and h11, with limits except on Unix sockets, over which the front calls the runners.

    Attributes:
        idle_since: when the wait for a request's head began, in the loop's time; None while a request is under way.
    """

    idle_since: float | None = None
    _unread = 0  # bytes of the answer that had not been read at the client's last progress
    _read_at = 0.0
    _closed = False
    _served = False  # it has had a request

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conn = _Connection(h11.SERVER, self.conn._max_incomplete_event_size)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        line = transport.get_extra_info("socket")
        if line is None or line.family == socket.AF_UNIX:
            return
        self.idle_since = self._read_at = self.loop.time()
        self._close_oldest()
        self.loop.call_later(_POLL_SECONDS, self._check_idle)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self.idle_since = None

    def on_response_complete(self) -> None:
        self.idle_since, self._served = self.loop.time(), True
        super().on_response_complete()

    def resume_writing(self) -> None:
        self._unread, self._read_at = 0, self.loop.time()
        super().resume_writing()

    def _should_upgrade(self) -> bool:
        """False: no route uses another protocol, and a connection that was handed over would have no limits."""
        return False

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "the request is not valid HTTP; send it anew by another client")

    def _check_idle(self) -> None:
        """Close the connection if its client has been idle for too long."""
        now, config = self.loop.time(), settings()
        if self not in self.connections:
            return
        unread = self.transport.get_write_buffer_size()
        if not unread or unread <= self._unread - _MIN_BYTES:
            self._unread, self._read_at = unread, now
        self._unread = max(self._unread, unread)
        if now - self._read_at > config.unread_seconds:
            metrics.CONNECTIONS_CLOSED.labels("answer not read").inc()
            self.transport.abort()
            return
        if self.idle_since is not None and now - self.idle_since > config.head_seconds and not unread:
            metrics.CONNECTIONS_CLOSED.labels("no request").inc()
            if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
                self._refuse(408, f"the request's head did not come within {config.head_seconds:g} s; send it again")
            self.transport.close()
        self.loop.call_later(_POLL_SECONDS, self._check_idle)

    def _close_oldest(self) -> None:
        """If there are too many connections, close idle ones: first those that never had a request, then the longest
        idle.

        A connection whose bytes the loop has not read yet may have a request, so that it comes last.
        """
        global _warned_at
        limit = min(settings().max_connections, max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _OTHER_FILES))
        if len(self.connections) <= limit:
            return
        open_ones = [each for each in self.connections if isinstance(each, PublicProtocol) and not each._closed]
        if len(open_ones) <= limit:
            return
        idle = [each for each in open_ones if each.idle_since is not None]
        unread = _with_unread_bytes(idle)
        idle.sort(key=lambda each: (each in unread, each._served, each.idle_since or 0.0))
        for each in idle[: 1 + len(idle) // 16]:
            each._closed = True  # it stays among the connections until the loop's next round
            metrics.CONNECTIONS_CLOSED.labels("too many").inc()
            each.transport.abort()
        if time.monotonic() - _warned_at > _WARN_SECONDS:
            _warned_at = time.monotonic()
            log.warning("more than %d connections: the longest idle ones are closed (MAX_CONNECTIONS)", limit)

    def _refuse(self, status: int, message: str) -> None:
        """Answer with an error, unless an answer has begun, and close."""
        cycle = self.cycle if self.cycle is not None and not self.cycle.response_complete else None
        if not (cycle and cycle.response_started) and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"error": message}).encode()
            length = str(len(body))
            headers = [("content-type", "application/json"), ("content-length", length), ("connection", "close")]
            response = h11.Response(status_code=status, headers=headers, reason=b"")
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        if cycle:
            cycle.disconnected = True  # the application must not answer as well
            cycle.message_event.set()
        self.transport.close()


def _with_unread_bytes(connections: list[PublicProtocol]) -> set[PublicProtocol]:
    """The connections on which bytes have come that the loop has not read."""
    poll, by_file = select.poll(), {}
    for each in connections:
        file = each.transport.get_extra_info("socket").fileno()
        by_file[file] = each
        poll.register(file, select.POLLIN)
    return {by_file[file] for file, _ in poll.poll(0)}
