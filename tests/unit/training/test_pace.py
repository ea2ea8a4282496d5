"""What a training will take, told before it starts: by earlier jobs' records, and by the length of the files."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contract import TrainRequest
from preprocessing.decode import probe
from runners import TABLE
from storage import Storage, Unavailable, keys
from tests.api import beat
from training.base import steps_for
from training.estimate import estimated_steps
from training.jobs.record import JobRecord
from training.jobs.store import Jobs
from training.pace import Pace, Paces, learn

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def record(number: int, speed: float | None = 2.0, seconds: float = 80.0, **changes: Any) -> JobRecord:
    fields: dict[str, Any] = {"producer_id": "ada", "model_name": "m", "backend": "ace_step", "state": "done"}
    fields |= {"total_steps": 100, "steps_per_second": speed, "started_at": NOW - timedelta(seconds=seconds)}
    fields |= {
        "created_at": NOW,
        "updated_at": NOW,
        "request": TrainRequest(producer_id="ada", upload_paths=["/data/x"]),
    }
    return JobRecord(**fields | {"job_id": f"j{number}"} | changes)


def test_the_pace_is_the_median_of_the_newest_jobs_of_the_backend() -> None:
    records = [
        record(0, 0.001, backend="musicgen"),
        record(1, 0.001, state="cancelled"),
        record(2, 0.001, attempt=1),
        record(3, None),
        *(record(4 + number, speed) for number, speed in enumerate((1.0, 2.0, 2.0, 4.0, 2.0))),
        record(9, 1000.0),
    ]
    # 100 steps of half a second leave 30 of 80 seconds.
    assert learn(records, "ace_step") == Pace(0.5, 30.0)
    assert Pace(0.5, 30.0).seconds(200) == 130.0
    assert learn([record(1, started_at=None)], "ace_step") == Pace(0.5, None)
    # One that stopped early took fewer steps than planned.
    assert learn([record(1, step=40)], "ace_step") == Pace(0.5, 60.0)
    assert learn(records[:4], "ace_step") is None and learn([], "ace_step") is None


def test_a_server_learns_from_storage_and_goes_on_without_it(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Jobs(store)
    done = record(1)
    store.put(keys.job_record(done.job_id), done.encode())

    async def twice() -> None:
        paces = Paces(jobs, [row.name for row in TABLE])
        assert await paces.current() == {"ace_step": Pace(0.5, 30.0)}

        def fail(*_: Any) -> Any:
            raise Unavailable(503, "storage is away")

        monkeypatch.setattr(Jobs, "latest", fail)
        paces._learned_at -= 3600
        assert await paces.current() == {"ace_step": Pace(0.5, 30.0)}

    asyncio.run(twice())


def test_only_the_newest_records_are_read(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    get = store.get_with_etag

    def noted(key: str, max_bytes: int | None = None) -> tuple[bytes, str]:
        read.append(key)
        return get(key, max_bytes)

    def write(number: int, **changes: Any) -> None:
        store.put(keys.job_record(f"j{number}"), record(number, **changes).encode())

    async def learned() -> None:
        paces = Paces(Jobs(store), ["ace_step", "musicgen"])
        for number in range(150):
            write(number, speed=1.0, backend="musicgen" if number == 149 else "ace_step")
        monkeypatch.setattr(store, "get_with_etag", noted)
        first = await paces.current()
        assert first["ace_step"].seconds_per_step == 1.0 and len(read) == 100
        # Newer jobs count, and the pace of a backend that has none of them stays.
        for number in range(150, 250):
            write(number, speed=4.0)
        paces._learned_at -= 3600
        second = await paces.current()
        assert second["ace_step"].seconds_per_step == 0.25 and len(read) == 200
        assert second["musicgen"] == first["musicgen"]

    asyncio.run(learned())


@pytest.mark.slow
def test_steps_are_estimated_from_the_files_that_will_be_trained_on(store: Storage) -> None:
    backend = TABLE["ace_step"]
    paths = []
    for number in range(4):
        key = keys.upload("ada", "songs", f"{number}.wav")
        store.put(key, beat(60, number=min(number, 2)))  # the last two are the same file
        paths.append(keys.to_path(key))

    async def length(file: Path) -> float:
        return probe(file).seconds

    def steps(**changes: Any) -> int | None:
        return asyncio.run(estimated_steps(TrainRequest(producer_id="ada", **changes), backend, store, length))

    # One of three songs is held out.
    assert steps(upload_paths=paths) == steps_for(120, "ace_step") == 300
    assert steps(upload_paths=paths[:2]) == 300 and steps(upload_paths=paths, max_steps=7) == 7
    assert steps(upload_urls=["https://example.com/a.wav"]) is None
    broken = keys.upload("ada", "songs", "broken.wav")
    store.put(broken, b"RIFF")
    assert steps(upload_paths=[*paths, keys.to_path(broken)]) is None


def test_an_estimate_that_takes_too_long_is_given_up(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(file: Path) -> float:
        await asyncio.Event().wait()
        raise AssertionError

    key = keys.upload("ada", "songs", "a.wav")
    store.put(key, b"RIFF")
    request = TrainRequest(producer_id="ada", upload_paths=[keys.to_path(key)])
    monkeypatch.setattr("training.estimate._MAX_SECONDS", 0.05)
    assert asyncio.run(estimated_steps(request, TABLE["ace_step"], store, never)) is None
