"""Processes that make submitted tracks, with a runner that waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapters.library import Library
from contract import SubmitRequest, TrackAnswer
from contract.tasks import Task
from core.errors import Refusal
from core.settings import Settings
from generation.outbox import Outbox
from generation.pipeline import Generation
from generation.submission.submissions import Submissions
from runners.clients import Runners
from runners.messages import RunnerState, TrackRequest
from runners.messages import TrackAnswer as MadeAnswer
from storage import Storage
from storage.process_lease import ProcessLease
from tests.signed_in import Silence

TRACK = {"prompt": "trap", "duration_seconds": 0.5, "seed": 7}


class Gated(Silence):
    """A runner that makes a track once `go` is set, and whose queue is full for the first `full` requests."""

    def __init__(self, full: int = 0, tasks: Sequence[Task] = ("text",)) -> None:
        self.go = asyncio.Event()
        self.tasks = tasks
        self.full = full
        self.asked: list[TrackRequest] = []

    async def generate(self, request: TrackRequest) -> MadeAnswer:
        self.asked.append(request)
        if self.full:
            self.full -= 1
            return MadeAnswer(error="the queue is full", status=503, wait=0)
        await self.go.wait()
        made = await super().generate(request)
        return made.model_copy(update={"other_takes": [made.pcm] * (request.takes - 1)})

    async def describe(self) -> RunnerState:
        return (await super().describe()).model_copy(update={"takes_reference": True, "tasks": list(self.tasks)})


class Process:
    """What a front process has of submitted tracks."""

    def __init__(self, storage: Storage, folder: Path, runner: Gated) -> None:
        settings = Settings(allow_noncommercial=False)
        runners = Runners({"ace_step": runner}, settings)
        outbox = Outbox(storage, "submitted", folder / "outbox")
        self.generation = Generation(runners, Library(storage), outbox, settings)
        self.lease = ProcessLease(storage)
        self.submissions = Submissions(self.generation, storage, self.lease)

    async def submit(self, **body: Any) -> str:
        return (await self.submissions.submit(SubmitRequest(**(TRACK | body)))).track_id

    def find(self, track_id: str) -> TrackAnswer:
        return self.generation.track_library.find(track_id)

    async def state(self, track_id: str) -> str:
        """As a client learns it."""
        try:
            self.find(track_id)
            return "done"
        except Refusal:
            found = await self.submissions.find(track_id)
            return found.state if found else "unknown"


@asynccontextmanager
async def alive(process: Process) -> AsyncIterator[Process]:
    process.submissions.start()
    try:
        yield process
    finally:
        await process.submissions.stop()
        process.lease.close()


async def until(state: Callable[[], Awaitable[str]], wanted: str) -> None:
    async with asyncio.timeout(30):
        while (found := await state()) != wanted:
            assert found in ("queued", "making", "finishing"), found
            await asyncio.sleep(0.02)
