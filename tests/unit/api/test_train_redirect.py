"""`POST /train` for a job that takes longer than HTTP clients wait: it redirects to a URL that waits further."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from api.middleware.idempotency import Idempotency
from api.routes import training
from api.routes.application import application
from api.routes.inputs import json_body
from contract import TrainRequest
from core.asgi.responses import answer_or_error
from core.settings import Settings
from generation.outbox import Outbox
from scripts.serving import free_port
from storage import Storage, keys
from storage.process_lease import ProcessLease
from tests.api import PATIENCE, beat, error_of, wait_until
from training.jobs.admission import Admission
from training.jobs.store import Jobs

LIMIT = 1.0
# Node's own fetch, with its own limits and redirects.
FETCH = """
const [url, body] = process.argv.slice(1);
fetch(url, {method: "POST", headers: {"content-type": "application/json"}, body}).then(async (answer) => {
  const { status, redirected, url } = answer;
  console.log(JSON.stringify({ status, redirected, url, body: await answer.json() }));
});
"""


class NoTraining:
    """Stands in for the training service: jobs wait until the test ends them."""

    @property
    def to_async(self) -> NoTraining:
        return self

    async def start(self, job_id: str) -> None:
        pass


@pytest.fixture
def jobs(store: Storage) -> Jobs:
    return Jobs(store)


@pytest.fixture
def settings() -> Settings:
    return Settings(train_answer_seconds=LIMIT)


@pytest.fixture
def url(store: Storage, jobs: Jobs, settings: Settings) -> Iterator[str]:
    """The routes over HTTP. BentoML serves /train in the real service."""
    admission = Admission(store, settings)
    front: Any = SimpleNamespace(admission=admission, jobs=jobs, training=NoTraining(), settings=settings, sign_in=None)

    async def train(request: Request) -> Response:
        body = await json_body(request, TrainRequest)
        answer = await answer_or_error(training.train(front, body, request))
        return answer if isinstance(answer, Response) else JSONResponse(answer.model_dump())

    app = Starlette(routes=[Route("/train", train, methods=["POST"]), Mount("/", application(lambda: front))])
    server = uvicorn.Server(uvicorn.Config(app, port=free_port(), log_level="warning", timeout_keep_alive=60))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield f"http://127.0.0.1:{server.config.port}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def body(store: Storage) -> dict[str, Any]:
    upload = keys.upload("ada", "takes", "beat.wav")
    store.put(upload, beat(1))
    return {"producer_id": "ada", "upload_paths": [keys.to_path(upload)], "model_name": "night", "job_id": "held"}


@pytest.mark.slow
def test_nodes_fetch_gets_the_result_of_a_job_that_is_held(url: str, jobs: Jobs, body: dict[str, Any]) -> None:
    command = ["node", "-e", FETCH, f"{url}/train", json.dumps(body)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as node:
        wait_until(lambda: any(jobs.all()))
        time.sleep(3 * LIMIT)
        assert node.poll() is None
        record = jobs.get("held")
        jobs.claim("held", record.attempt)
        jobs.finish(record)
        answer = json.loads(node.communicate(timeout=PATIENCE)[0])
    assert (answer["status"], answer["redirected"], answer["url"]) == (200, True, f"{url}/jobs/held/result")
    result = jobs.get("held").result
    assert result is not None and answer["body"] == result.model_dump()
    # The same request again is answered at once.
    assert httpx.post(f"{url}/train", json=body, trust_env=False).json() == answer["body"]


def test_the_location_is_absolute_and_by_the_clients_name_or_the_public_one(
    url: str, jobs: Jobs, settings: Settings, body: dict[str, Any]
) -> None:
    with httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as client:
        answer = client.post("/train", json=body)
        assert (answer.status_code, answer.headers["location"]) == (303, f"{url}/jobs/held/result")
        again = client.get("/jobs/held/result", headers={"x-forwarded-proto": "https, http", "host": "twin.example"})
        assert (again.status_code, again.headers["location"]) == (303, "https://twin.example/jobs/held/result")
        settings.public_url = "https://music.example/api/"
        for method, path, sent in (("GET", "/jobs/held/result", None), ("POST", "/train", body)):
            again = client.request(method, path, json=sent, headers={"host": "evil.example"})
            assert again.headers["location"] == "https://music.example/api/jobs/held/result"
        jobs.fail("held", "the disk is full", 507)
        assert "the disk is full" in error_of(client.get("/jobs/held/result"), 507)
        error_of(client.get("/jobs/gone/result"), 404)


@pytest.mark.slow
def test_a_training_whose_client_left_is_found_by_its_idempotency_key(
    store: Storage, jobs: Jobs, body: dict[str, Any], tmp_path: Path
) -> None:
    front: Any = SimpleNamespace(admission=Admission(store, Settings()), jobs=jobs, training=NoTraining())
    front.settings, front.storage = Settings(), store
    front.outbox, front.lease = Outbox(store, "left", tmp_path / "outbox"), ProcessLease(store)

    async def train(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        answer = await answer_or_error(training.train(front, await json_body(request, TrainRequest), request))
        assert isinstance(answer, Response)
        await answer(scope, receive, send)

    async def asked(key: str = "mine", **changes: Any) -> httpx.Response | None:
        """The answer; None if the client left before it."""
        transport = httpx.ASGITransport(Idempotency(train, lambda: front))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            try:
                async with asyncio.timeout(2):
                    return await client.post("/train", json=unnamed | changes, headers={"idempotency-key": key})
            except TimeoutError:
                return None

    unnamed = {name: value for name, value in body.items() if name != "job_id"}
    assert asyncio.run(asked()) is None and asyncio.run(asked()) is None
    [job] = jobs.all()
    assert job.state == "queued"
    assert asyncio.run(asked("another", model_name="day")) is None and len(list(jobs.all())) == 2
    other = asyncio.run(asked(max_steps=7))
    assert other is not None and "another request" in error_of(other, 409)
    jobs.fail(job.job_id, "the disk is full", 507)
    ended = asyncio.run(asked())
    assert ended is not None and "the disk is full" in error_of(ended, 507)
    assert len(list(jobs.all())) == 2
    front.lease.close()
