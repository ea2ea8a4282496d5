"""Submitted tracks: made after the answer, taken up when a process has ended, cancelled, limited, and seen by some."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, cast

import pytest

from contract import SubmitRequest, SubmittedState
from core.errors import Refusal
from core.principal import Principal, acting
from generation.submission import store as submission_store
from generation.submission import submissions as submissions_module
from runners.messages import TrackAnswer as MadeAnswer
from runners.messages import TrackRequest
from storage import Storage, work_keys
from tests.signed_in import store_twin
from tests.unit.generation.submission.processes import TRACK, Gated, Process, alive, until

ADA = Principal("key ada", frozenset({"generate"}), frozenset({"ada"}), tracks="key-ada")
EVE = Principal("key eve", frozenset({"generate"}), frozenset({"eve"}), tracks="key-eve")


@pytest.mark.slow
def test_a_track_is_made_after_the_answer_under_the_id_that_was_answered(store: Storage, tmp_path: Path) -> None:
    async def run() -> None:
        runner = Gated()
        async with alive(Process(store, tmp_path, runner)) as process:
            track_id = await process.submit(takes=2, rank="none")
            assert await process.state(track_id) in ("queued", "making")
            runner.go.set()
            await until(lambda: process.state(track_id), "done")
            track = process.find(track_id)
            assert track.seed == 7 and track.takes[0] == track_id and len(track.takes) == 2
            second = process.find(track.takes[1])
            assert second.seed == 8 and second.takes == track.takes
            async with asyncio.timeout(10):
                while [*store.list("submitted_tracks/"), *store.list("open_submissions/")]:
                    await asyncio.sleep(0.02)

    asyncio.run(run())


def test_a_track_whose_process_ended_is_taken_up_and_is_the_same(store: Storage, tmp_path: Path) -> None:
    async def begin() -> str:
        process = Process(store, tmp_path, Gated())
        track_id = await process.submit(seed=None)
        await asyncio.sleep(0.1)
        process.lease._held.pop_all()  # as after kill -9: nothing releases the lease
        return track_id

    async def go_on(track_id: str) -> int:
        runner = Gated()
        runner.go.set()
        async with alive(Process(store, tmp_path, runner)) as process:
            await until(lambda: process.state(track_id), "done")
            return process.find(track_id).seed

    before = asyncio.run(begin())
    seed = store.get(work_keys.submission(before))
    assert f'"seed": {asyncio.run(go_on(before))}'.encode() in seed


def test_a_track_whose_processes_end_again_and_again_has_failed(store: Storage, tmp_path: Path) -> None:
    """It may be what ends them."""

    async def begin() -> str:
        process = Process(store, tmp_path, Gated())
        track_id = await process.submit()
        process.lease.close()
        return track_id

    track_id = asyncio.run(begin())
    submitted = submission_store.SubmissionStore(store)
    for number in range(submission_store.MAX_TAKE_UPS):
        [mark] = submitted.marks()
        assert submitted.claim(mark, f"process-{number}")
    [mark] = submitted.marks()
    assert mark.process == f"process-{number}" and submitted.claim(mark, "another") is None
    failed = submitted.find(track_id)
    assert failed and failed.state == "failed" and "20 times" in (failed.error or "") and not list(submitted.marks())


def test_no_other_process_takes_up_what_is_being_made(store: Storage, tmp_path: Path) -> None:
    async def run() -> None:
        runner, idle = Gated(), Gated()
        async with alive(Process(store, tmp_path, runner)) as process, alive(Process(store, tmp_path, idle)) as other:
            track_id = await process.submit()
            await asyncio.sleep(1.5)  # longer than a lease that is not renewed
            assert not idle.asked and await other.state(track_id) == "queued"
            runner.go.set()
            await until(lambda: other.state(track_id), "done")

    asyncio.run(run())


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_track_is_cancelled_by_any_process(store: Storage, tmp_path: Path, where: str) -> None:
    async def run() -> None:
        runner = Gated()
        async with alive(Process(store, tmp_path, runner)) as process:
            other = Process(store, tmp_path, Gated())
            track_id = await process.submit()
            await asyncio.sleep(0.1)
            assert await (process if where == "here" else other).submissions.cancel(track_id) == []
            assert await other.state(track_id) == "cancelled"
            async with asyncio.timeout(10):
                while process.submissions._running:
                    await asyncio.sleep(0.02)
            runner.go.set()
            assert await process.submissions.cancel(track_id) == [work_keys.submission(track_id)]
            assert await process.state(track_id) == "unknown"
            assert await process.submissions.cancel(track_id) is None

    asyncio.run(run())


def test_a_track_that_is_cancelled_while_its_end_is_stored_is_deleted(
    store: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        runner, loop = Gated(), asyncio.get_running_loop()
        process = Process(store, tmp_path, runner)
        submissions = process.submissions
        end = submissions.store.end

        def end_after_a_cancellation(track_id: str, state: SubmittedState, error: str | None = None) -> Any:
            end(track_id, "cancelled")
            loop.call_soon_threadsafe(submissions._running[track_id].cancel)
            time.sleep(0.2)
            return end(track_id, state, error)

        monkeypatch.setattr(submissions.store, "end", end_after_a_cancellation)
        track_id = await process.submit(takes=2)
        runner.go.set()
        async with asyncio.timeout(30):
            while submissions._running:
                await asyncio.sleep(0.02)
        process.lease.close()
        assert await process.state(track_id) == "cancelled"
        assert not [*store.list("outputs/"), *store.list("track_records/")]

    asyncio.run(run())


def test_a_track_waits_while_the_queue_is_full(store: Storage, tmp_path: Path) -> None:
    async def run() -> None:
        runner = Gated(full=3)
        runner.go.set()
        async with alive(Process(store, tmp_path, runner)) as process:
            track_id = await process.submit()
            await until(lambda: process.state(track_id), "done")
            assert len(runner.asked) == 4

    asyncio.run(run())


def test_a_track_that_cannot_be_made_has_failed_with_the_reason(store: Storage, tmp_path: Path) -> None:
    class Failing(Gated):
        async def generate(self, request: TrackRequest) -> MadeAnswer:
            return MadeAnswer(error="seed: the values are not finite", status=500)

    async def run() -> None:
        async with alive(Process(store, tmp_path, Failing())) as process:
            track_id = await process.submit()
            await until(lambda: process.state(track_id), "failed")
            found = await process.submissions.find(track_id)
            assert found and found.error == "seed: the values are not finite"

    asyncio.run(run())


def test_a_track_that_is_to_be_in_the_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="response"):
        SubmitRequest(**(TRACK | {"response": "base64"}))


def test_a_refused_request_leaves_nothing(store: Storage, tmp_path: Path) -> None:
    async def run() -> None:
        process = Process(store, tmp_path, Gated())
        store_twin(store, "bob", "night")
        with acting(ADA):
            for body, status in (
                ({"lora_id": "ada:none"}, 404),
                ({"lora_id": "bob:night"}, 404),
                ({"duration_seconds": 100_000.0}, 400),
                ({"reference": "/data/uploads/bob/takes/beat.wav"}, 404),
                ({"webhook_url": "http://example.com/x"}, 400),
                ({"webhook_url": "https://127.0.0.1/x"}, 400),
                ({"webhook_url": "https://[::ffff:10.0.0.1]/x"}, 400),
            ):
                with pytest.raises(Refusal) as refused:
                    await process.submit(**body)
                assert refused.value.status == status, body
        assert not [*store.list("submitted_tracks/"), *store.list("open_submissions/")]

    asyncio.run(run())


def test_a_principal_has_a_limited_number_and_sees_its_own(
    store: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission_store, "MAX_OPEN", 2)

    async def run() -> None:
        async with alive(Process(store, tmp_path, Gated())) as process:
            with acting(ADA):
                track_id = await process.submit()
                await process.submit()
                with pytest.raises(Refusal) as refused:
                    await process.submit()
                assert refused.value.status == 429
                assert track_id.startswith("made:key-ada:")
            with acting(EVE):
                await process.submit()
                assert await process.submissions.find(track_id) is None
                assert await process.submissions.cancel(track_id) is None
            with acting(ADA):
                assert await process.state(track_id) == "queued"
                await process.submissions.cancel(track_id)
                await process.submit()

    asyncio.run(run())


def test_a_process_that_was_thought_dead_does_no_harm(store: Storage, tmp_path: Path) -> None:
    """It makes the same track, which another process has made already."""

    async def run() -> None:
        stalled, runner = Gated(), Gated()
        first = Process(store, tmp_path, stalled)
        track_id = await first.submit()
        await asyncio.sleep(0.1)
        first.lease.close()
        runner.go.set()
        async with alive(Process(store, tmp_path, runner)) as second:
            await until(lambda: second.state(track_id), "done")
            stalled.go.set()
            async with asyncio.timeout(10):
                while first.submissions._running:
                    await asyncio.sleep(0.02)
            assert second.find(track_id).seed == 7 and not list(store.list("submitted_tracks/"))

    asyncio.run(run())


def test_ends_that_cannot_be_stored_are_stored_later(
    store: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends between the record and the mark leaves the rest to another."""
    process = Process(store, tmp_path, Gated())

    async def begin() -> str:
        track_id = await process.submit()
        process.lease.close()
        return track_id

    track_id = asyncio.run(begin())
    told: list[str] = []
    broken = submission_store.SubmissionStore(store, cast(Any, lambda record: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        broken.end(track_id, "failed", "for a test")
    whole = submission_store.SubmissionStore(store, lambda record: told.append(f"{record.state}: {record.error}"))
    [mark] = whole.marks()
    assert whole.claim(mark, "another") is None
    assert told == ["failed: for a test"] and not list(whole.marks())


@pytest.mark.parametrize("ticks", range(5))
def test_it_stops_though_a_track_comes_at_that_moment(store: Storage, tmp_path: Path, ticks: int) -> None:
    async def run() -> None:
        async with alive(Process(store, tmp_path, Gated())) as process:
            submissions = process.submissions
            # By then it waits for work.
            await asyncio.sleep(1.5 * submissions_module.POLL_SECONDS)
            submissions._has_work.set()
            for _ in range(ticks):
                await asyncio.sleep(0)
            async with asyncio.timeout(10):
                await submissions.stop()

    asyncio.run(run())
