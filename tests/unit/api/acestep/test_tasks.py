"""ACE-Step's tasks: their records, replicas, limits, and the end of the process that makes them."""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import pytest

from api.acestep import tasks
from api.acestep.answers import task_answer
from api.acestep.tasks import AceStepTasks
from contract import GenerateRequest
from core.errors import Refusal
from core.principal import Principal, acting
from core.settings import Settings
from generation.editing.recordings import Sent
from generation.generated import Generated
from generation.pipeline import Generation
from storage import Storage, leases
from storage.process_lease import ProcessLease
from training.jobs.retention import clean
from training.jobs.store import Jobs

TAKES = [GenerateRequest(prompt="trap", seed=seed, bpm=140) for seed in (7, 8)]


class Maker:
    """Stands in for `Generation`: makes a track when `go` is set."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.error: Exception | None = None
        self.heard: list[bytes] = []

    async def generate(self, request: GenerateRequest, as_base64: bool, sent: Sent) -> Generated:
        await self.go.wait()
        self.heard += [each.read() for each in (sent.source, sent.reference) if each]
        if self.error and request.seed == 8:
            raise self.error
        key = f"outputs/base/{request.seed}.mp3"
        return Generated(b"", "audio/mpeg", "ace_step", request.seed or 0, 48_000, 2.0, key)


def tasks_of(store: Storage) -> AceStepTasks:
    """The tasks of a process of its own."""
    return AceStepTasks(store, ProcessLease(store))


async def released(service: AceStepTasks, maker: Maker) -> str:
    return (await service.release(TAKES, "turbo", cast(Generation, maker)))[0]


async def answered(service: AceStepTasks, task_id: str) -> dict[str, Any]:
    answer = task_answer(task_id, await service.find(task_id))
    return answer | {"result": json.loads(answer["result"])}


async def ended(service: AceStepTasks, task_id: str) -> dict[str, Any]:
    end = time.monotonic() + 10
    while (answer := await answered(service, task_id))["status"] == 0:
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    return answer


def test_a_task_is_answered_by_every_replica(store: Storage) -> None:
    async def run() -> None:
        service, replica, maker = tasks_of(store), tasks_of(store), Maker()
        task_id = await released(service, maker)
        for each in (service, replica):
            answer = await answered(each, task_id)
            assert answer["status"] == 0 and answer["result"][0]["prompt"] == "trap"
        maker.go.set()
        for each in (service, replica):
            answer = await ended(each, task_id)
            assert (answer["status"], len(answer["result"])) == (1, 2)
            first = answer["result"][0]
            assert first["file"] == "/v1/audio?path=%2Fdata%2Foutputs%2Fbase%2F7.mp3"
            assert (first["seed_value"], first["dit_model"], first["status"]) == ("7,8", "turbo", 1)
            assert first["metas"] == {"bpm": 140, "duration": 2, "genres": "", "keyscale": "", "timesignature": ""}

    asyncio.run(run())


def test_a_failure_is_told(store: Storage) -> None:
    async def run() -> None:
        service, maker = tasks_of(store), Maker()
        for error, sentence in (
            (Refusal(404, "lora_id: there is no twin"), "lora_id: there is no twin"),
            (ZeroDivisionError(), "the service failed at task"),
        ):
            maker.error = error
            maker.go.set()
            answer = await ended(service, await released(service, maker))
            assert answer["status"] == 2 and answer["result"][0]["error"].startswith(sentence)
            assert answer["result"][0]["file"] == ""
        while service.statistics()["queue_size"]:  # until the process knows that the record is stored
            await asyncio.sleep(0.01)
        assert service.statistics()["jobs"] == {"total": 2, "queued": 0, "running": 0, "succeeded": 0, "failed": 2}

    asyncio.run(run())


def test_a_task_belongs_to_who_released_it(store: Storage) -> None:
    async def run() -> None:
        service, maker = tasks_of(store), Maker()
        with acting(Principal("key a")):
            task_id = await released(service, maker)
        with acting(Principal("key b")):
            assert await service.find(task_id) is None
            assert task_answer(task_id, None)["status"] == 2
        for unknown in ("nobodys", "../jobs/x", "x" * 999):
            assert await service.find(unknown) is None
        maker.go.set()
        with acting(Principal("key a")):
            assert (await ended(service, task_id))["status"] == 1

    asyncio.run(run())


def test_a_task_whose_process_ended_has_failed(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was killed neither releases its lease nor renews it."""
    monkeypatch.setattr(leases, "EXPIRY", 0.3)
    lease = ProcessLease(store)

    async def begin() -> str:
        return await released(AceStepTasks(store, lease), Maker())

    task_id = asyncio.run(begin())  # the loop ends, and the task with it

    async def failed(service: AceStepTasks) -> dict[str, Any]:
        assert (await answered(service, task_id))["status"] == 0  # it may be slow
        return await ended(service, task_id)

    answer = asyncio.run(failed(tasks_of(store)))
    assert answer["status"] == 2 and "has ended" in answer["result"][0]["error"]
    lease.close()
    assert asyncio.run(answered(tasks_of(store), task_id))["status"] == 2


def test_tasks_are_removed_with_old_tracks(store: Storage) -> None:
    async def run() -> None:
        service, maker = tasks_of(store), Maker()
        maker.go.set()
        task_id = await released(service, maker)
        await ended(service, task_id)
        assert clean(store, Jobs(store), Settings(keep_outputs_days=1.0), store.delete) == {}
        assert clean(store, Jobs(store), Settings(keep_outputs_days=1e-9), store.delete)["outputs"] >= 1
        assert (await answered(service, task_id))["status"] == 2

    asyncio.run(run())


def test_one_client_cannot_fill_the_queue(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "MAX_TRACKS_OF_ONE", 4)
    monkeypatch.setattr(tasks, "MAX_TRACKS", 6)

    async def run() -> None:
        service, maker = tasks_of(store), Maker()
        with acting(Principal("key a")):
            held = [await released(service, maker), await released(service, maker)]
            with pytest.raises(Refusal, match="too many tracks") as refused:
                await released(service, maker)
            assert refused.value.status == 429
        with acting(Principal("key b")):
            await released(service, maker)
            with pytest.raises(Refusal, match="too many tracks"):
                await released(service, maker)
        maker.go.set()
        with acting(Principal("key a")):
            for task_id in held:
                assert (await ended(service, task_id))["status"] == 1
            assert (await ended(service, await released(service, maker)))["status"] == 1

    asyncio.run(run())


def test_files_are_kept_until_the_tracks_are_made(
    store: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tasks, "MAX_FILE_BYTES_OF_ONE", 6)
    (tmp_path / "sent").write_bytes(b"RIFF")

    async def run() -> None:
        service, maker = tasks_of(store), Maker()
        with io.FileIO(tmp_path / "sent") as file:
            task_id, _ = await service.release(TAKES, "turbo", cast(Generation, maker), {"source": file})
            with pytest.raises(Refusal, match="too many files") as refused:
                await service.release(TAKES, "turbo", cast(Generation, maker), {"source": file})
            assert refused.value.status == 429
        maker.go.set()
        assert (await ended(service, task_id))["status"] == 1
        # Each track reads the file from its beginning.
        assert maker.heard == [b"RIFF", b"RIFF"]
        assert list(tmp_path.glob("producer-twin-*")) == []
        with io.FileIO(tmp_path / "sent") as file:
            task_id, _ = await service.release(TAKES, "turbo", cast(Generation, maker), {"reference": file})
        assert (await ended(service, task_id))["status"] == 1

    asyncio.run(run())
