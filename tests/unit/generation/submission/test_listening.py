"""A submitted track that ends just as a listener arrives."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import Refusal
from runners.messages import RunnerState, TrackAnswer, TrackRequest
from runners.stream_messages import answer_message, samples_message
from storage import Storage, work_keys
from tests.signed_in import RATE
from tests.unit.generation.submission.processes import Gated, Process, alive, until


class Streaming(Gated):
    """Sends half of the track, and once `go` is set the rest; or then fails."""

    def __init__(self, fails: bool) -> None:
        super().__init__()
        self.fails = fails

    async def describe(self) -> RunnerState:
        return (await super().describe()).model_copy(update={"streams": True})

    async def stream(self, request: TrackRequest) -> AsyncGenerator[bytes, None]:
        half = np.zeros((round(request.seconds * RATE) // 2, 2), np.float32)
        yield samples_message(half)
        await self.go.wait()
        if self.fails:
            yield answer_message(TrackAnswer(error="the model failed", status=500))
            return
        yield samples_message(half)
        yield answer_message(TrackAnswer(sample_rate=RATE, channels=2))


class SlowRead:
    """A storage that holds its next read of a key until `go_on` is set, and answers it with the object as it was."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.slow_key: str | None = None
        self.has_read, self.go_on = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_with_etag(self, key: str, max_bytes: int | None = None) -> tuple[bytes, str]:
        found = self._storage.get_with_etag(key, max_bytes)
        if key == self.slow_key:
            self.slow_key = None
            self.has_read.set()
            assert self.go_on.wait(30)
        return found


@pytest.mark.parametrize("fails", [False, True])
def test_a_track_that_ends_meanwhile_is_heard(store: Storage, tmp_path: Path, fails: bool) -> None:
    async def run() -> None:
        runner, slow = Streaming(fails), SlowRead(store)
        async with alive(Process(slow, tmp_path, runner)) as process:  # type: ignore[arg-type]
            track_id = await process.submit(stream=True)
            whole = await process.submissions.listen(track_id)
            assert whole is not None
            slow.slow_key = work_keys.submission(track_id)
            listening = asyncio.create_task(process.submissions.listen(track_id))
            await asyncio.to_thread(slow.has_read.wait, 30)
            runner.go.set()
            await until(lambda: process.state(track_id), "failed" if fails else "done")
            async with asyncio.timeout(30):
                while track_id in process.submissions._running:
                    await asyncio.sleep(0.01)
            slow.go_on.set()
            heard = await listening
            assert heard is not None
            if fails:
                with pytest.raises(Refusal, match="the model failed"):
                    [chunk async for chunk in heard]
            else:
                assert b"".join([c async for c in heard]) == b"".join([c async for c in whole]) != b""

    asyncio.run(run())
