"""Where a track stands that somebody waits for (`GET /queue/{request_id}`).

A track is known by its request's id and by who asked for it, digested: who asks with another key asks for another
track, which is not there. The digest goes to the runner with the row, so that any front can ask any runner.
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


class Place:
    """A request's, while it lasts. `backend`: once it was chosen; `handed`: it is with the runner."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.backend: Backend | None = None
        self.handed = False

    @contextmanager
    def at(self, backend: Backend) -> Iterator[None]:
        self.backend, self.handed = backend, True
        try:
            yield
        finally:
            self.handed = False


class QueuePositions:
    """The tracks that are under way by way of this front, and how to ask for others'."""

    def __init__(self, runners: Runners, settings: Settings) -> None:
        self.runners = runners
        self.settings = settings
        self._taken: dict[str, Place] = {}

    @contextmanager
    def taken(self) -> Iterator[Place]:
        """For the request that is being served. Of two of one id the later one counts."""
        place = Place(_name(logs.request_id()))
        self._taken[place.name] = place
        try:
            yield place
        finally:
            if self._taken.get(place.name) is place:
                del self._taken[place.name]

    async def find(self, request_id: str) -> QueueAnswer:
        """Raises Refusal (404): there is none, or it was answered."""
        name = _name(request_id)
        here = self._taken.get(name)
        backend = here.backend.name if here and here.backend else None
        if here and not here.handed:
            return QueueAnswer(
                request_id=request_id, backend=backend, state="finishing" if here.backend else "preparing"
            )
        served = TABLE.enabled(self.settings)
        asked = [here.backend] if here and here.backend else list(served.values())
        answers = await asyncio.gather(*(self.runners.place(each, name) for each in asked))
        for each, found in zip(asked, answers, strict=True):
            if found.state:
                return QueueAnswer(request_id=request_id, backend=each.name, **found.model_dump())
        if here and name in self._taken:
            return QueueAnswer(request_id=request_id, backend=backend, state="unknown")
        raise Refusal(404, f"request_id: no track of {shown(request_id)} is under way; it may be done")


def _name(request_id: str) -> str:
    return sha256(f"{principal.current().name}\n{request_id}".encode()).hexdigest()
