"""The thread that a model works in, and the way to it from an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from core import metrics
from core.errors import Refusal
from models import memory
from models.base import Row, Track
from models.device import lost
from runners.eta import Eta, forecast
from runners.scheduler import Scheduler, Ticket
from runners.watchdog import Watchdog

log = logging.getLogger("producer_twin.runner")

T = TypeVar("T")

# Rows that may be there at once; one more is refused at once rather than after a timeout.
MAX_PRESENT = 64
# Whoever is refused is told to come again when there is room, at most so many seconds later.
_LONGEST_WAIT = 600
# A forecast is made no more often than this, however many ask.
_FRESH_SECONDS = 1.0
# After so long without anything to do, memory is given back.
_IDLE_SECONDS = 1.0


@dataclass(eq=False)
class _Order:
    """A row that is waited for."""

    row: Row
    deadline: float
    answer: asyncio.Future[Track]
    loop: asyncio.AbstractEventLoop
    place: str = ""
    ticket: Ticket | None = None

    def give(self, track: Track) -> None:
        def settle() -> None:
            if not self.answer.done():
                self.answer.set_result(track)

        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(settle)


@dataclass(eq=False)
class _Errand:
    """Work with the model that is no row, done in stretches between those of the scheduler."""

    work: Generator[None, None, Any]
    answer: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop

    def give(self, result: Any) -> None:
        def settle() -> None:
            if not self.answer.done():
                if isinstance(result, Exception):
                    self.answer.set_exception(result)
                else:
                    self.answer.set_result(result)

        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(settle)


class Worker:
    """Everything that touches the scheduler and its model happens in one thread.

    Args:
        hung_seconds: a stretch of work that takes longer, and far longer than its cost says, will not end.
        on_end: called with the reason when nothing can be made here any more, after everyone was told.
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
        self._watchdog = Watchdog(hung_seconds, lambda: scheduler.expected, self._end)
        self._present = metrics.PRESENT.labels(backend)
        self._present.set(0)  # whatever a process before this one left
        self._turn_seconds, self._turn_rows = metrics.TURN_SECONDS.labels(backend), metrics.TURN_ROWS.labels(backend)
        self._inbox: queue.SimpleQueue[_Order | _Errand] = queue.SimpleQueue()
        self._errands: deque[_Errand] = deque()
        self._orders: dict[Ticket, _Order] = {}
        self._waiting = 0
        self._asked: dict[str, _Order] = {}
        self._forecast: dict[Ticket, Eta] = {}
        self._forecast_at = float("-inf")
        threading.Thread(target=self._work, name="model", daemon=True).start()

    def admit(self) -> None:
        """Raises `Refusal` if there are too many already, or nothing can be made any more."""
        if self._ended:
            raise self._ended
        if self._waiting >= MAX_PRESENT:
            wait = self._until_room()
            again = f"in {wait} s" if wait else "in some seconds"
            raise Refusal(503, f"{MAX_PRESENT} requests are being served already; try again {again}", wait)

    def place(self, name: str) -> Eta | None:
        """Where the row stands that was asked for under this name; `None` if it is not here. From any thread."""
        order = self._asked.get(name)
        if order is None or order.ticket is None:
            return None
        return self._etas(order.ticket).get(order.ticket)

    async def track(self, row: Row, deadline: float = float("inf"), place: str = "") -> Track:
        """The row's track, or why there is none. Who is cancelled frees its row at the next step.

        Args:
            deadline: by `time.monotonic`; past it the row is given up.
            place: a name for `place`; of two rows of one name the later one counts.

        Raises:
            Refusal: 503, too many are there already.
        """
        self.admit()
        loop = asyncio.get_running_loop()
        order = _Order(row, deadline, loop.create_future(), loop, place)
        self._count(1)
        if place:
            self._asked[place] = order
        self._inbox.put(order)
        try:
            return await order.answer
        finally:
            self._count(-1)
            if self._asked.get(place) is order:
                del self._asked[place]
            if order.answer.cancelled():
                self._inbox.put(order)  # the second time it is taken back

    async def run(self, work: Generator[None, None, T]) -> T:
        """What other work with the model comes to. A stretch of it follows each of the rows', and one such work the
        other.

        Raises:
            Refusal: 503, nothing can be made any more.
        """
        if self._ended:
            raise self._ended
        loop = asyncio.get_running_loop()
        errand = _Errand(work, loop.create_future(), loop)
        self._inbox.put(errand)
        result: T = await errand.answer
        return result

    def _count(self, more: int) -> None:
        self._waiting += more
        self._present.set(self._waiting)

    def _etas(self, wanted: Ticket | None = None) -> dict[Ticket, Eta]:
        """A fresh forecast, which knows of `wanted`."""
        age = time.monotonic() - self._forecast_at
        if age > _FRESH_SECONDS or (wanted and wanted not in self._forecast):
            self._forecast = forecast(self._scheduler)
            self._forecast_at = time.monotonic()
        return self._forecast

    def _until_room(self) -> int | None:
        """Seconds until the first of those present is done, as far as that is known."""
        left = [each.seconds_left for each in self._etas().values() if each.seconds_left is not None]
        return min(max(1, math.ceil(min(left))), _LONGEST_WAIT) if left else None

    def _work(self) -> None:
        while not self._ended:
            while not (self._scheduler.tickets or self._errands) or not self._inbox.empty():
                self._take(self._next())
            self._advance_errand()
            if not self._scheduler.tickets:
                continue
            try:
                with self._turn_seconds.time(), self._watchdog.stretch():
                    ended = self._scheduler.turn()
                self._turn_rows.observe(self._scheduler.rows)
                for ticket, track in ended:
                    if isinstance(track, Exception) and lost(track):
                        log.error("the device failed", exc_info=track)
                        self._end(f"its device failed ({str(track).splitlines()[0]})")
                        break
                    self._orders.pop(ticket).give(track)
            except Exception as error:  # a fault of the scheduler's own must not leave everyone waiting
                log.exception("the scheduler failed")
                for ticket in list(self._scheduler.tickets):
                    self._scheduler.drop(ticket)
                for order in self._orders.values():
                    order.give(error)
                self._orders.clear()

    def _advance_errand(self) -> None:
        """A stretch of the first errand."""
        if not self._errands:
            return
        errand, result = self._errands[0], None
        try:
            with self._watchdog.stretch():
                if not errand.answer.done():  # somebody waits for it still
                    next(errand.work)
                    return
        except StopIteration as end:
            result = end.value
        except Exception as error:  # noqa: BLE001 - it is the answer
            result = error
        self._errands.popleft()
        errand.give(result)

    def _end(self, reason: str) -> None:
        """From the watchdog's thread or from the model's: tell everyone who waits here, and whose process it is."""
        self._ended = Refusal(503, f"{self._backend}: {reason}; send the request again in some seconds")
        for order in list(self._orders.values()):
            order.give(self._ended)
        for errand in list(self._errands):
            errand.give(self._ended)
        with contextlib.suppress(queue.Empty):
            while True:
                self._inbox.get_nowait().give(self._ended)
        self._on_end(reason)

    def _next(self) -> _Order | _Errand:
        """Who comes or leaves next. After a moment in which nobody did, the memory of those before is given back."""
        try:
            return self._inbox.get(timeout=_IDLE_SECONDS)
        except queue.Empty:
            memory.give_back()
            return self._inbox.get()

    def _take(self, order: _Order | _Errand) -> None:
        if isinstance(order, _Errand):
            self._errands.append(order)
            return
        if order.ticket or order.answer.done():
            if order.ticket in self._orders:
                del self._orders[order.ticket]
                self._scheduler.drop(order.ticket)
            return
        try:
            order.ticket = self._scheduler.add(order.row, order.deadline)
            self._orders[order.ticket] = order
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a row is that row's answer
            order.give(error)
