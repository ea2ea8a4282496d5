"""Recordings that came with submitted tracks: kept until the track has ended, and limited."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest

from contract import SubmitRequest
from core.errors import Refusal
from generation.editing.recordings import Sent
from generation.submission import store as submission_store
from storage import Storage
from tests.api import beat
from tests.unit.generation.submission.processes import TRACK, Gated, Process, alive


def test_a_recording_that_came_with_a_track_outlives_its_process(store: Storage, tmp_path: Path) -> None:
    """Another process makes the track from it; it is deleted when the track has ended."""
    request = SubmitRequest(prompt="trap", task="repaint", start=0, end=0.2, seed=7)
    (tmp_path / "beat.wav").write_bytes(beat(0.5))
    editor = Gated(tasks=["text", "repaint"])

    async def begin() -> str:
        process = Process(store, tmp_path, editor)
        with io.FileIO(tmp_path / "beat.wav") as file:
            with pytest.raises(Refusal, match=r"^source: text has no such field"):
                await process.submissions.submit(SubmitRequest.model_validate(TRACK), Sent(source=file))
            track_id = (await process.submissions.submit(request, Sent(source=file))).track_id
        await asyncio.sleep(0.1)
        process.lease._held.pop_all()  # as after kill -9: nothing releases the lease
        return track_id

    async def go_on(track_id: str) -> None:
        runner = Gated(tasks=["text", "repaint"])
        async with alive(Process(store, tmp_path, runner)) as process:
            async with asyncio.timeout(30):
                while not runner.asked:
                    await asyncio.sleep(0.02)
            assert runner.asked[0].edit and runner.asked[0].edit.source.flac
            await process.submissions.cancel(track_id)
            assert await process.state(track_id) == "cancelled"

    track_id = asyncio.run(begin())
    assert len(list(store.list("submitted_recordings/"))) == 1
    asyncio.run(go_on(track_id))
    assert not list(store.list("submitted_recordings/"))


def test_the_recordings_of_open_tracks_have_a_limit(
    store: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission_store, "MAX_RECORDED_BYTES", 1000)
    (tmp_path / "beat.wav").write_bytes(beat(0.5))

    async def run() -> None:
        async with alive(Process(store, tmp_path, Gated(tasks=["text", "cover"]))) as process:
            with io.FileIO(tmp_path / "beat.wav") as file, pytest.raises(Refusal, match=r"^source: .* GiB") as refused:
                await process.submissions.submit(SubmitRequest(prompt="trap", task="cover"), Sent(source=file))
            assert refused.value.status == 413

    asyncio.run(run())
    assert not [*store.list("submitted_recordings/"), *store.list("open_submissions/")]
