"""The thread that owns a model, and its interface to event loops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any, TypeVar

from core import metrics
from core.errors import Refusal
from models import malloc
from models.base import Row, Track
from models.device import is_device_lost
from runners.eta import Eta, estimate
from runners.scheduler import Scheduler, Ticket
from runners.watchdog import Watchdog

log = logging.getLogger("producer_twin.runner")

T = TypeVar("T")

# Rows that may wait or run at once. One more is refused at once rather than after a timeout.
MAX_TRACKS = 64
# Memory for the recordings of these rows: eighteen of ten minutes in stereo. One more is refused at once, too.
MAX_RECORDED_BYTES = 4 * 2**30
# The longest time after which a refused client is told to try again.
_MAX_RETRY_SECONDS = 600
# ETAs are computed no more often than this, however many clients ask.
_ETA_MAX_AGE_SECONDS = 1.0
# Unused memory is returned to the system after this time without work.
_IDLE_SECONDS = 1.0


@dataclass(eq=False)
class _Request:
    """A row, and the future of its track. An error is the future's result too.

    Attributes:
        takes: the takes that are answered together, this one among them; the same object in each of them.
        ticket: set by the model's thread once the row is in the scheduler.
    """

    row: Row
    deadline: float
    takes: list[_Request]
    future: Future[Track] = field(default_factory=Future)
    ticket: Ticket | None = None


@dataclass(eq=False)
class _Call:
    """Other work with the model, such as measuring an adapter. It runs in slices between those of the scheduler."""

    work: Generator[None, None, Any]
    future: Future[Any] = field(default_factory=Future)


@dataclass(frozen=True)
class _Add:
    """A message with new requests, which the scheduler is to see at once."""

    requests: list[_Request]


@dataclass(frozen=True)
class _Cancel:
    """A message that the requests are no longer wanted."""

    requests: list[_Request]


_Message = _Add | _Call | _Cancel


class Worker:
    """Runs a scheduler and its model in one thread.

    Args:
        scheduler: not to be used elsewhere.
        backend: the label of metrics and errors.
        hung_seconds: a slice that takes longer than this, and much longer than expected, hangs.
        on_end: called with the reason when the model is lost, after all requests have been answered.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        backend: str = "",
        hung_seconds: float = float("inf"),
        on_end: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._scheduler, self._backend = scheduler, backend
        self._on_end = on_end
        self._ended: Refusal | None = None
        self._watchdog = Watchdog(hung_seconds, lambda: scheduler.expected_seconds, self._end)
        self._tracks_gauge = metrics.PRESENT.labels(backend)
        self._tracks_gauge.set(0)  # a process before this one may have left another value
        self._slice_seconds, self._slice_rows = metrics.TURN_SECONDS.labels(backend), metrics.TURN_ROWS.labels(backend)
        self._inbox: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._calls: deque[_Call] = deque()
        self._requests: dict[Ticket, _Request] = {}
        self._tracks = self._recorded_bytes = 0
        self._by_queue_key: dict[str, list[_Request]] = {}
        self._etas: dict[Ticket, Eta] = {}
        self._etas_at = float("-inf")
        threading.Thread(target=self._work, name="model", daemon=True).start()

    def admit(self, recorded_bytes: int = 0, rows: int = 1) -> None:
        """Check that more rows can be taken, whose recordings take `recorded_bytes` of memory together.

        Raises:
            Refusal: 503, the queue or the memory for recordings is full, or the model is lost.
        """
        if self._ended:
            raise self._ended
        if self._tracks + rows > MAX_TRACKS:
            raise self._full(f"{MAX_TRACKS} requests are being served already")
        if self._recorded_bytes + recorded_bytes > MAX_RECORDED_BYTES:
            raise self._full("the recordings of other requests take all the memory for them")

    def eta(self, queue_key: str) -> Eta | None:
        """The progress of the rows with this `queue_key`, that of the last one; `None` if none is in the scheduler.

        Thread-safe.
        """
        requests = self._by_queue_key.get(queue_key, [])
        tickets = [each.ticket for each in requests if each.ticket and not each.future.done()]
        etas = [eta for ticket in tickets if (eta := self._fresh_etas(ticket).get(ticket))]
        return min(etas, key=lambda eta: eta.progress, default=None)

    async def track(self, row: Row, deadline: float = float("inf"), queue_key: str = "") -> Track:
        """`tracks` for one row."""
        return (await self.tracks([row], deadline, queue_key))[0]

    async def tracks(self, rows: Sequence[Row], deadline: float = float("inf"), queue_key: str = "") -> list[Track]:
        """Generate the audio of rows that have the same recordings. Cancelling it frees them at the next step.

        Args:
            rows: the takes of one request.
            deadline: by `time.monotonic`; past it they are given up.
            queue_key: a name for `eta`; of two requests with one name, the later one counts.

        Returns:
            The audio of each row, or its error.

        Raises:
            Refusal: 503, as for `admit`.
        """
        recorded_bytes = rows[0].recorded_bytes
        self.admit(recorded_bytes, len(rows))
        requests: list[_Request] = []
        requests += [_Request(row, deadline, requests) for row in rows]
        self._count(len(rows), recorded_bytes)
        if queue_key:
            self._by_queue_key[queue_key] = requests
        self._inbox.put(_Add(requests))
        try:
            return list(await asyncio.gather(*(asyncio.wrap_future(each.future) for each in requests)))
        except asyncio.CancelledError:
            self._inbox.put(_Cancel(requests))
            raise
        finally:
            self._count(-len(rows), -recorded_bytes)
            if self._by_queue_key.get(queue_key) is requests:
                del self._by_queue_key[queue_key]

    async def run(self, work: Generator[None, None, T]) -> T:
        """Run a generator in the model's thread, a slice at a time between the rows' slices. Calls run one by one.

        Returns:
            The generator's return value.

        Raises:
            Refusal: 503, the model is lost.
        """
        if self._ended:
            raise self._ended
        call = _Call(work)
        self._inbox.put(call)
        return await asyncio.wrap_future(call.future)

    def _count(self, change: int, recorded_bytes: int) -> None:
        self._tracks += change
        self._recorded_bytes += recorded_bytes
        self._tracks_gauge.set(self._tracks)

    def _fresh_etas(self, wanted: Ticket | None = None) -> dict[Ticket, Eta]:
        """ETAs of at most `_ETA_MAX_AGE_SECONDS`, which include `wanted`."""
        age = time.monotonic() - self._etas_at
        if age > _ETA_MAX_AGE_SECONDS or (wanted and wanted not in self._etas):
            self._etas = estimate(self._scheduler)
            self._etas_at = time.monotonic()
        return self._etas

    def _full(self, reason: str) -> Refusal:
        wait = self._seconds_until_room()
        again = f"in {wait} s" if wait else "in some seconds"
        return Refusal(503, f"{reason}; try again {again}", wait)

    def _seconds_until_room(self) -> int | None:
        """Until the first row is done; `None` if unknown."""
        left = [each.seconds_left for each in self._fresh_etas().values() if each.seconds_left is not None]
        return min(max(1, math.ceil(min(left))), _MAX_RETRY_SECONDS) if left else None

    def _work(self) -> None:
        while not self._ended:
            while not (self._scheduler.tickets or self._calls) or not self._inbox.empty():
                self._handle(self._next_message())
            self._advance_call()
            if not self._scheduler.tickets:
                continue
            try:
                with self._slice_seconds.time(), self._watchdog.watching():
                    done = self._scheduler.run_slice()
                self._slice_rows.observe(self._scheduler.rows)
                for ticket, track in done:
                    if isinstance(track, Exception) and is_device_lost(track):
                        log.error("the device failed", exc_info=track)
                        self._end(f"its device failed ({str(track).splitlines()[0]})")
                        break
                    _resolve(self._requests.pop(ticket).future, track)
            except Exception as error:  # an error of the scheduler itself must not leave requests unanswered
                log.exception("the scheduler failed")
                for ticket in list(self._scheduler.tickets):
                    self._scheduler.drop(ticket)
                for request in self._requests.values():
                    _resolve(request.future, error)
                self._requests.clear()

    def _next_message(self) -> _Message:
        """Wait for a message. Memory is returned to the system if none comes for a moment."""
        try:
            return self._inbox.get(timeout=_IDLE_SECONDS)
        except queue.Empty:
            malloc.trim()
            return self._inbox.get()

    def _handle(self, message: _Message) -> None:
        match message:
            case _Add(requests):
                for request in requests:
                    self._add(request)
            case _Call() as call:
                self._calls.append(call)
            case _Cancel(requests):
                for request in requests:
                    self._drop(request)

    def _add(self, request: _Request) -> None:
        if request.future.cancelled():
            return
        try:
            request.ticket = self._scheduler.add(request.row, request.deadline, request.takes)
            self._requests[request.ticket] = request
        except Exception as error:  # noqa: BLE001 - an invalid row is answered with its error
            _resolve(request.future, error)

    def _drop(self, request: _Request) -> None:
        if request.ticket in self._requests:
            del self._requests[request.ticket]
            self._scheduler.drop(request.ticket)

    def _advance_call(self) -> None:
        """Run a slice of the first call."""
        if not self._calls:
            return
        call = self._calls[0]
        try:
            with self._watchdog.watching():
                if not call.future.cancelled():
                    next(call.work)
                    return
        except StopIteration as end:
            _resolve(call.future, end.value)
        except Exception as error:  # noqa: BLE001 - raised where the call is awaited
            _reject(call.future, error)
        self._calls.popleft()

    def _end(self, reason: str) -> None:
        """Answer everything with 503, and take nothing more. Called by the watchdog's thread or by the model's."""
        self._ended = Refusal(503, f"{self._backend}: {reason}; send the request again in some seconds")
        pending: list[_Request | _Call] = [*self._requests.values(), *self._calls]
        with contextlib.suppress(queue.Empty):
            while True:
                message = self._inbox.get_nowait()
                if isinstance(message, _Add):
                    pending += message.requests
                elif isinstance(message, _Call):
                    pending.append(message)
        for item in pending:
            if isinstance(item, _Request):
                _resolve(item.future, self._ended)
            else:
                _reject(item.future, self._ended)
        self._on_end(reason)


def _resolve(future: Future[T], result: T) -> None:
    with contextlib.suppress(InvalidStateError):  # it was cancelled
        future.set_result(result)


def _reject(future: Future[Any], error: Exception) -> None:
    with contextlib.suppress(InvalidStateError):  # it was cancelled
        future.set_exception(error)
