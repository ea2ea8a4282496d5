"""Gathers the requests that wait while a batch is under way into the next one.

So a batch grows with the load, a lone request starts at once, and nothing waits for company that may not come.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Sequence

from runners.messages import TrackAnswer, TrackRequest

log = logging.getLogger("producer_twin.runner")

# Rows in a batch at most, and seconds of music in all, which is what memory grows with.
MOST_ROWS = 8
MOST_SECONDS = 600.0
# Requests that may wait; one more is refused at once rather than after a timeout.
MOST_WAITING = 64

Run = Callable[[Sequence[TrackRequest]], Sequence[TrackAnswer]]


class Batcher:
    """For one event loop. `run` makes a batch, in a thread, one batch at a time."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._waiting: deque[tuple[TrackRequest, asyncio.Future[TrackAnswer]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, request: TrackRequest) -> TrackAnswer:
        """The request's track, or why there is none. A caller that is cancelled gives its place up."""
        if len(self._waiting) >= MOST_WAITING:
            return TrackAnswer(error=f"{MOST_WAITING} requests wait already; try again in some seconds", status=503)
        answer: asyncio.Future[TrackAnswer] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        while batch := self._next():
            requests = [request for request, _ in batch]
            try:
                answers = await asyncio.to_thread(self._run, requests)
            except Exception:
                incident = secrets.token_hex(4)
                log.exception("a batch of %d failed (incident %s)", len(batch), incident)
                failure = TrackAnswer(error=f"the model failed at this batch (incident {incident})", status=500)
                answers = [failure] * len(batch)
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)

    def _next(self) -> list[tuple[TrackRequest, asyncio.Future[TrackAnswer]]]:
        """First come, first served, up to what one batch may hold."""
        batch: list[tuple[TrackRequest, asyncio.Future[TrackAnswer]]] = []
        seconds = 0.0
        while self._waiting and len(batch) < MOST_ROWS:
            request, future = self._waiting[0]
            if batch and seconds + request.seconds > MOST_SECONDS:
                break
            self._waiting.popleft()
            if not future.done():
                batch.append((request, future))
                seconds += request.seconds
        return batch
