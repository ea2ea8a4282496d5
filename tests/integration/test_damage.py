"""Damaged objects in storage: lists leave them out, `/status` and metrics report them, and they can be deleted."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from api.auth import keys as api_keys
from contract import TaskAnswer
from storage import open_storage
from tests.api import ACE_STEP_ONLY, PATIENCE, Api, Json, beat, checked, error_of, running, wait_until

# Functions from the content of a file to damaged content.
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "other JSON": lambda data: b'{"a": 1}',
    "JSON of another type": lambda data: b"[1]",
    "NaN": lambda data: re.sub(rb"(?<=: )[0-9.]+|(?<=:)[0-9.]+", b"NaN", data, count=1) + b" ",
    "no text": lambda data: b"\xff\xfe\x00" + data[3:],
}
KINDS = (
    *("jobs/ada-job.json", "open_jobs/lasting", "tasks/*", "datasets/ada/ada-job/dataset.json"),
    *("training_data/ada/dataset.json", "job_data/ada-job/audio/*", "job_runs/ada-job/report.json"),
    *("job_runs/ada-job/previews/*.mp3", "job_runs/ada-job/previews/*.png", "job_runs/ada-job/checkpoint.pt"),
    *("loras/ada_night.safetensors", "lora_owners/ada_night", "lora_versions/ada/night/*"),
    *("models/ada/adapter_model.safetensors", "models/ada/adapter_config.json", "lora_deletions/latest"),
    *("lora_turns/ada.json", "training_turns/ada.json", "job_slots/admitted.json", "uploads/ada/takes/beat.wav"),
    "outputs/twins/ada/*",
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[tuple[Api, Path]]:
    """A service where ada has a twin, a track and a finished job, and bob a queued job; and a copy of its storage."""
    folder = tmp_path_factory.mktemp("damage")
    store = open_storage((folder / "data").as_uri())
    token = api_keys.create(store, "operator", ["admin"], requests_per_minute=1_000_000, jobs_at_once=100)
    with running(folder, tiny | ACE_STEP_ONLY, ("ace_step",), token) as api:
        path = api.upload("ada", beat(8), job_id="takes", filename="beat.wav")
        body: Json = {"producer_id": "ada", "model_name": "night", "upload_paths": [path], "job_id": "ada-job"}
        api.post("/train/submit", **body, max_steps=2)
        job = api.ended("ada-job")
        assert job["state"] == "done"
        # The task reads the record once more after the job has ended; nothing may damage it before.
        wait_until(lambda: api.get("/train/status", task_id=job["task_id"])["status"] == "completed")
        api.generate(lora_id="ada:night", duration_seconds=1)
        api.post("/loras/ada:night/rollback", version=api.get("/loras/ada:night")["version"])
        store.put("lora_deletions/latest", b"x")
        add_lasting_job(api)
        copy = folder / "copy"
        shutil.copytree(api.folder, copy)
        yield api, copy


def add_lasting_job(api: Api) -> None:
    """Store a queued job of bob's that was updated in the future, so that it is never presumed dead."""
    record = json.loads((api.folder / "jobs/ada-job.json").read_text())
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    own = {"job_id": "lasting", "task_id": None, "producer_id": "bob", "state": "queued", "updated_at": later}
    own |= {"result": None, "request": record["request"] | {"job_id": "lasting", "producer_id": "bob"}}
    (api.folder / "jobs/lasting.json").write_text(json.dumps(record | own))
    (api.folder / "open_jobs").mkdir(exist_ok=True)
    (api.folder / "open_jobs/lasting").write_bytes(b"")


def restore(api: Api, copy: Path) -> None:
    for path in api.folder.iterdir():
        if path.is_dir() and path.name not in (".locks", "api_keys"):
            shutil.rmtree(path)
    shutil.copytree(copy, api.folder, dirs_exist_ok=True)


def routes(api: Api, copy: Path, kind: str) -> list[str]:
    """Every route that reads ada's objects; of those that take a second, only the one that reads this kind."""
    task = next(copy.glob("tasks/*")).name
    track = next(copy.glob("outputs/twins/ada/*")).relative_to(copy).as_posix()
    previews = [path.name for path in copy.glob("job_runs/ada-job/previews/*")]
    twin = "/loras/ada:night"
    version = next(copy.glob("lora_versions/ada/night/*")).stem
    slow = {
        "outputs/twins/ada/*": f"/data/{track}?format=flac",
        "uploads/ada/takes/beat.wav": "/uploads/analysis?path=/data/uploads/ada/takes/beat.wav",
    }
    return [
        *([slow[kind]] if kind in slow else []),
        *(
            "/jobs/ada-job",
            f"/jobs/{task}",
            "/jobs/ada-job/events",
            "/jobs/ada-job/report",
            "/jobs/ada-job/report.json",
        ),
        *(f"/jobs/ada-job/previews/{name}" for name in previews),
        *("/datasets/ada", twin, f"{twin}/versions", f"{twin}/file", f"{twin}/file?version={version}"),
        f"/data/{track}",
        *(f"/train/status?task_id={task}", f"/train/get?task_id={task}", "/producers/ada"),
    ]


def walk(api: Api, copy: Path, kind: str) -> None:
    """Check that lists are answered, and that a request for one object is answered or says what is wrong."""
    walk_lists(api)
    for path in routes(api, copy, kind):
        answer = api.client.get(path)
        if answer.status_code == 500:
            assert "damaged" in error_of(answer, 500), path
        elif answer.status_code != 200:
            assert answer.status_code in (400, 404, 409), (path, answer.text)
            error_of(answer, answer.status_code)
        else:
            assert answer.content, path


def walk_lists(api: Api) -> None:
    """Check that lists hold every valid object."""
    for path in ("/jobs", "/jobs?state=queued", "/jobs?producer_id=bob"):
        assert "lasting" in [job["job_id"] for job in checked(api.client.get(path))["jobs"]], path
    for path in ("/loras", "/loras?producer_id=ada", "/jobs?state=done", "/producers/bob", "/backends", "/docs.json"):
        checked(api.client.get(path))
    for path in ("/status", "/metrics"):
        assert api.client.get(path).status_code == 200


def damaged(api: Api, copy: Path, kind: str, damage: str) -> list[Path]:
    paths = [api.folder / path.relative_to(copy) for path in copy.glob(kind)]
    assert paths, kind
    for path in paths:
        if damage == "another name":
            path.rename(path.with_name("other" + path.suffix))
        else:
            path.write_bytes(DAMAGES[damage](path.read_bytes()))
    return paths


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_object_stops_nobody(served: tuple[Api, Path], kind: str) -> None:
    api, copy = served
    for damage in (*DAMAGES, "another name"):
        restore(api, copy)
        damaged(api, copy, kind, damage)
        walk(api, copy, kind)
        gone = checked(api.client.delete("/producers/ada"))["deleted"]
        assert gone, damage
        left = {path for path in api.folder.rglob("*ada*") if path.is_file()}
        assert not {path for path in left if path.parent.name not in ("jobs", "lora_owners")}, (damage, left)
        walk_lists(api)
        assert checked(api.client.post("/jobs/lasting/cancel"))["state"] == "cancelled"
    restore(api, copy)


def test_what_is_damaged_is_told_of_until_it_is_gone(served: tuple[Api, Path]) -> None:
    api, copy = served
    restore(api, copy)
    damaged(api, copy, "jobs/ada-job.json", "truncated")
    wait_until(lambda: 'producer_twin_damaged_objects{kind="jobs"} 1' in api.client.get("/metrics").text, pause=1)
    status = api.client.get("/status").text
    assert "Damaged objects" in status and "<td>/data/jobs/</td><td>1</td>" in status
    assert re.search(r'producer_twin_damaged_found_total\{kind="jobs"\} [1-9]', api.client.get("/metrics").text)
    assert "/data/jobs/ada-job.json is damaged" in api.server.log.read_text()
    assert "restore it" in error_of(api.client.get("/jobs/ada-job"), 500)
    assert "/data/jobs/ada-job.json" in checked(api.client.delete("/jobs/ada-job"))["deleted"]
    error_of(api.client.get("/jobs/ada-job"), 404)
    error_of(api.client.delete("/jobs/ada-job"), 404)
    wait_until(lambda: 'producer_twin_damaged_objects{kind="jobs"} 0' in api.client.get("/metrics").text, pause=1)
    restore(api, copy)


def test_a_twin_of_damaged_files_can_be_deleted(served: tuple[Api, Path]) -> None:
    api, copy = served
    for damage in ("empty", "truncated", "no text"):
        restore(api, copy)
        for kind in (
            "loras/ada_night.safetensors",
            "lora_versions/ada/night/*",
            "models/ada/adapter_model.safetensors",
        ):
            damaged(api, copy, kind, damage)
        assert checked(api.client.get("/loras"))["loras"] == []
        assert "skipped" in error_of(api.client.get("/loras/ada:night"), 404)
        error_of(api.client.delete("/loras/ada:other"), 404)
        checked(api.client.delete("/loras/ada:night"))
        assert not [path for path in api.folder.rglob("*.safetensors") if path.is_file()]
        error_of(api.client.delete("/loras/ada:night"), 404)
    restore(api, copy)


def test_a_job_is_deleted_with_what_it_left_but_its_twin(served: tuple[Api, Path]) -> None:
    api, copy = served
    restore(api, copy)
    assert "cancel it first" in error_of(api.client.delete("/jobs/lasting"), 409)
    task = api.get("/jobs/ada-job")["task_id"]
    checked(api.client.delete(f"/jobs/{task}"))
    assert not [path for path in api.folder.rglob("*") if path.is_file() and "ada-job" in path.as_posix()]
    error_of(api.client.get(f"/jobs/{task}"), 404)
    assert api.get("/loras/ada:night")["usable"]
    error_of(api.client.delete("/jobs/nobody"), 404)
    restore(api, copy)


@contextmanager
def limited(api: Api, producer: str, jobs_at_once: int = 1) -> Iterator[httpx.Client]:
    """A client with an API key for one producer."""
    store = open_storage(api.folder.as_uri())
    token = api_keys.create(store, producer, ["train"], [producer], jobs_at_once=jobs_at_once)
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=api.server.url, headers=headers, timeout=PATIENCE, trust_env=False) as client:
        wait_until(lambda: client.get("/jobs").status_code == 200)
        yield client


def test_a_job_id_does_not_reach_the_task_that_it_equals(served: tuple[Api, Path]) -> None:
    api, copy = served
    restore(api, copy)
    task = api.get("/jobs/ada-job")["task_id"]
    path = api.upload("eve", beat(2), job_id="takes", filename="beat.wav")
    with limited(api, "eve") as eve:
        body: Json = {"producer_id": "eve", "upload_paths": [path], "max_steps": 1}
        assert "taken" in error_of(eve.post("/train/submit", json=body | {"job_id": task}), 409)
        # A job with this id that an older version may have admitted.
        record = json.loads((api.folder / "jobs/lasting.json").read_text())
        own = {"job_id": task, "producer_id": "eve", "request": record["request"] | {"job_id": task}}
        (api.folder / f"jobs/{task}.json").write_text(json.dumps(record | own))
        for route in ("status", "get"):
            error_of(eve.get(f"/train/{route}", params={"task_id": task}), 404)
            error_of(eve.get(f"/train/{route}", params={"task_id": "ada-job"}), 404)
        assert TaskAnswer.model_validate(api.get("/train/status", task_id=task)).status == "completed"
    restore(api, copy)


def test_no_more_jobs_at_once_than_a_key_may_have(served: tuple[Api, Path]) -> None:
    api, copy = served
    restore(api, copy)
    path = api.upload("dan", beat(4), job_id="takes", filename="beat.wav")
    with limited(api, "dan") as dan, ThreadPoolExecutor(8) as pool:

        def submit(number: int) -> httpx.Response:
            body: Json = {"producer_id": "dan", "upload_paths": [path], "max_steps": 100_000}
            return dan.post("/train/submit", json=body | {"job_id": f"dan-{number}", "model_name": f"m{number}"})

        answers = list(pool.map(submit, range(8)))
        admitted = [number for number, answer in enumerate(answers) if answer.status_code == 200]
        assert len(admitted) == 1, [answer.text for answer in answers]
        for number in set(range(8)) - set(admitted):
            assert "under way" in error_of(answers[number], 429)
            error_of(api.client.get(f"/jobs/dan-{number}"), 404)
        # The same request again is the same job, and takes no slot.
        assert submit(admitted[0]).json()["job_id"] == f"dan-{admitted[0]}"
        checked(dan.post(f"/jobs/dan-{admitted[0]}/cancel"))
        assert api.ended(f"dan-{admitted[0]}")["state"] == "cancelled"
        later = submit(100)
        assert later.status_code == 200, later.text
        error_of(dan.post(f"/jobs/dan-{admitted[0]}/resume"), 429)
        checked(dan.post("/jobs/dan-100/cancel"))
        api.ended("dan-100")
    assert uuid.UUID(later.json()["task_id"])
    restore(api, copy)
