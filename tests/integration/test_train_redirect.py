"""`POST /train` that takes longer than HTTP clients wait: it redirects to a URL that waits further."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.api import ACE_STEP_ONLY, PATIENCE, Api, Json, beat, error_of, running, wait_until

LIMIT = 10.0  # Node follows 20 redirects, and a busy machine takes a minute to train
# Node's own fetch with its own limits and redirects.
FETCH = """
const [url, body] = process.argv.slice(1);
fetch(url, {method: "POST", headers: {"content-type": "application/json"}, body}).then(async (answer) => {
  const { status, redirected, url } = answer;
  console.log(JSON.stringify({ status, redirected, url, body: await answer.json() }));
});
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[Api]:
    environment = tiny | ACE_STEP_ONLY | {"TRAIN_ANSWER_SECONDS": str(LIMIT)}
    with running(tmp_path_factory.mktemp("redirect"), environment, ("ace_step",)) as api:
        yield api


@pytest.fixture(scope="module")
def upload(service: Api) -> str:
    return service.upload("ada", beat(4, rate=44_100), job_id="takes", filename="beat.wav")


def wanted(upload: str, job: str, steps: int) -> Json:
    return {"producer_id": "ada", "upload_paths": [upload], "model_name": job, "job_id": job, "max_steps": steps}


def test_nodes_fetch_gets_the_result_of_a_job_that_is_held(service: Api, upload: str) -> None:
    service.post("/train/submit", **wanted(upload, "long", 100_000))
    wait_until(lambda: service.get("/jobs/long")["state"] != "queued")
    body = wanted(upload, "held", 1)
    url = f"{service.server.url}/train"
    command = ["node", "-e", FETCH, url, json.dumps(body)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as node:
        time.sleep(LIMIT + 2)
        held = service.get("/jobs/held")
        service.post("/jobs/long/cancel")
        answer = json.loads(node.communicate(timeout=PATIENCE)[0])
    assert held["state"] == "queued"
    assert (answer["status"], answer["redirected"]) == (200, True), answer
    assert answer["url"] == f"{service.server.url}/jobs/held/result"
    assert answer["body"] == service.get("/jobs/held")["result"] == service.get("/jobs/held/result")
    # The same request again is answered at once.
    assert service.post("/train", **body) == answer["body"]


def test_the_location_is_absolute_and_of_the_clients_scheme(service: Api, upload: str) -> None:
    body = wanted(upload, "endless", 100_000)
    answer = service.client.post("/train", json=body)
    location = f"{service.server.url}/jobs/endless/result"
    assert (answer.status_code, answer.headers["location"]) == (303, location)
    again = service.client.get("/jobs/endless/result", headers={"x-forwarded-proto": "https"})
    assert (again.status_code, again.headers["location"]) == (303, location.replace("http:", "https:", 1))
    service.post("/jobs/endless/cancel")
    assert "was cancelled" in error_of(service.client.get("/jobs/endless/result"), 409)
    assert "gone" in error_of(service.client.get("/jobs/gone/result"), 404)
