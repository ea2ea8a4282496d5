"""The queue positions of tracks that are not done yet (`GET /queue/{request_id}`).

A track is found by a digest of its request id and of the client that asked for it, so that no other client can ask
about it. The digest goes to the runner with the request: any front process can ask any runner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from contract import QueueAnswer
from core import logs, principal
from core.errors import Refusal
from core.settings import Settings
from core.text import shown
from runners import TABLE, Backend
from runners.clients import Runners


class TrackedRequest:
    """A `POST /generate` that this process serves.

    Attributes:
        queue_key: the digest by which the track is found.
        backend: set once it is chosen.
        in_runner: the runner has the track.
    """

    def __init__(self, queue_key: str) -> None:
        self.queue_key = queue_key
        self.backend: Backend | None = None
        self.in_runner = False

    @contextmanager
    def running_on(self, backend: Backend) -> Iterator[None]:
        self.backend, self.in_runner = backend, True
        try:
            yield
        finally:
            self.in_runner = False


class QueuePositions:
    """Finds a track in this process or in the runners."""

    def __init__(self, runners: Runners, settings: Settings) -> None:
        self.runners = runners
        self.settings = settings
        self._tracked: dict[str, TrackedRequest] = {}

    @contextmanager
    def track(self) -> Iterator[TrackedRequest]:
        """Track the current request. Of two requests with one id, the later one counts."""
        tracked = TrackedRequest(_queue_key(logs.request_id()))
        self._tracked[tracked.queue_key] = tracked
        try:
            yield tracked
        finally:
            if self._tracked.get(tracked.queue_key) is tracked:
                del self._tracked[tracked.queue_key]

    async def find(self, request_id: str) -> QueueAnswer:
        """The position of the caller's track.

        Raises:
            Refusal: 404, the caller has no such track under way.
        """
        queue_key = _queue_key(request_id)
        tracked = self._tracked.get(queue_key)
        backend = tracked.backend if tracked else None
        name = backend.name if backend else None
        if tracked and not tracked.in_runner:
            return QueueAnswer(request_id=request_id, backend=name, state="finishing" if backend else "preparing")
        candidates = [backend] if backend else list(TABLE.enabled(self.settings).values())
        positions = await asyncio.gather(*(self.runners.queue_position(each, queue_key) for each in candidates))
        for candidate, position in zip(candidates, positions, strict=True):
            if position.state:
                return QueueAnswer(request_id=request_id, backend=candidate.name, **position.model_dump())
        if tracked and queue_key in self._tracked:
            return QueueAnswer(request_id=request_id, backend=name, state="unknown")
        raise Refusal(404, f"request_id: no track of {shown(request_id)} is under way; it may be done")


def _queue_key(request_id: str) -> str:
    return sha256(f"{principal.current().name}\n{request_id}".encode()).hexdigest()
