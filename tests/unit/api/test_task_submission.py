"""What `/train/submit` answers besides the task: the job, its steps, and how long it will take."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from api.middleware.routing import Routing
from api.middleware.task_submission import TaskSubmission
from contract import SubmittedAnswer, TrainRequest
from core.settings import Settings
from storage import Storage, keys
from tests.api import beat
from training.jobs.admission import Admission
from training.jobs.record import JobRecord
from training.jobs.store import Jobs
from training.pace import Paces

NOW = datetime(2026, 11, 29, tzinfo=UTC)


async def make_task(request: Request) -> JSONResponse:
    """Stands in for BentoML's task route."""
    assert (await request.json())["job_id"]
    return JSONResponse({"task_id": "task-1", "status": "in_progress"})


@pytest.fixture
def client(store: Storage) -> TestClient:
    admission = Admission(store, Settings())
    paces = Paces(admission.jobs, ["ace_step"])
    app: Any = Starlette(routes=[Route("/train/submit", make_task, methods=["POST"])])
    return TestClient(Routing(TaskSubmission(app, lambda: admission, lambda: paces)))


def submit(client: TestClient, store: Storage, **more: Any) -> SubmittedAnswer:
    key = keys.upload("ada", "songs", "beat.wav")
    store.put(key, beat(60))
    answer = client.post("/train/submit", json={"producer_id": "ada", "upload_paths": [keys.to_path(key)]} | more)
    assert answer.status_code == 200, answer.text
    return SubmittedAnswer.model_validate(answer.json())


@pytest.mark.slow
def test_steps_are_told_and_the_time_is_not_invented(client: TestClient, store: Storage) -> None:
    told = submit(client, store)
    assert (told.task_id, told.total_steps, told.estimated_seconds) == ("task-1", 150, None)
    assert json.loads(store.get(keys.job_record(told.job_id)))["task_id"] == "task-1"


@pytest.mark.slow
def test_the_time_is_that_of_earlier_jobs(client: TestClient, store: Storage) -> None:
    done = JobRecord(
        job_id="earlier",
        producer_id="ada",
        model_name="m",
        backend="ace_step",
        state="done",
        total_steps=100,
        steps_per_second=2.0,
        started_at=NOW - timedelta(seconds=80),
        created_at=NOW,
        updated_at=NOW,
        request=TrainRequest(producer_id="ada", upload_paths=["/data/x"]),
    )
    store.put(keys.job_record("earlier"), done.encode())
    told = submit(client, store, max_steps=40)
    assert (told.total_steps, told.estimated_seconds) == (40, 50.0)


def test_a_job_whose_length_is_not_known_is_admitted(client: TestClient, store: Storage) -> None:
    told = submit(client, store, upload_paths=None, upload_urls=["https://example.com/a.wav"])
    assert told.job_id and told.total_steps is None and told.estimated_seconds is None


@pytest.mark.slow
def test_a_request_that_is_sent_again_is_not_estimated_again(
    client: TestClient, store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert submit(client, store, job_id="one").total_steps == 150

    async def fail(*_: Any) -> int:
        raise AssertionError

    monkeypatch.setattr("api.middleware.task_submission.estimated_steps", fail)
    again = submit(client, store, job_id="one")
    assert (again.job_id, again.total_steps) == ("one", None)
    Jobs(store).update("one", total_steps=120)
    assert submit(client, store, job_id="one").total_steps == 120
