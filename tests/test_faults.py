"""What breaks, breaks alone, says so, and comes back by itself."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import psutil
import pytest

from tests.api import PATIENCE, Api, Json, beat, decoded, error_of, running, wait_until, wait_until_ready

BODY: Json = {"prompt": "dark trap", "duration_seconds": 1, "seed": 7, "backend_override": "ace_step"}
HUNG_SECONDS = 6


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[Api]:
    environment = tiny | {"HUNG_SECONDS": str(HUNG_SECONDS)}
    with running(tmp_path_factory.mktemp("faulty"), environment, what="tests.faulty:ProducerTwin") as api:
        yield api


def asked(api: Api, request_id: str = "", **more: object) -> httpx.Response:
    headers = {"accept": "audio/wav"} | ({"x-request-id": request_id} if request_id else {})
    return api.client.post("/generate", json=BODY | more, headers=headers)


def is_made(api: Api, request_id: str) -> bool:
    """Whether the runner works on the track of this request."""
    answer = api.client.get(f"/queue/{request_id}")
    return answer.status_code == 200 and answer.json()["state"] == "making"


def got(api: Api, path: str) -> httpx.Response:
    """By a connection of its own."""
    return httpx.get(f"{api.server.url}{path}", timeout=PATIENCE, trust_env=False)


def test_a_server_that_is_told_to_stop(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> None:
    """Here MusicGen has no model: it says so, and ACE-Step serves."""
    environment = tiny | {"MUSICGEN_MODEL": "/no/such/model", "STOP_SECONDS": "12"}
    with running(tmp_path_factory.mktemp("stopped"), environment, ("ace_step",)) as api:
        wait_until(lambda: "no such folder" in api.get("/backends")["backends"][1]["reason"])
        assert "no such folder" in error_of(asked(api, backend_override="musicgen"), 503)
        path = api.upload("ada", beat(8))
        api.post("/train/submit", producer_id="ada", upload_paths=[path], job_id="job", max_steps=100_000)
        wait_until(lambda: api.get("/jobs/job")["step"])
        processes = [psutil.Process(api.server.process.pid), *api.children()]
        with ThreadPoolExecutor(2) as pool:
            late = pool.submit(asked, api, "late", duration_seconds=600, steps=200)
            wait_until(lambda: is_made(api, "late"))
            soon = pool.submit(asked, api, "soon", duration_seconds=2, steps=16)
            wait_until(lambda: is_made(api, "soon") or soon.done(), pause=0.01)
            api.server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: got(api, "/readyz").status_code == 503)  # once the signal is with the front
            for path in ("/readyz", "/backends"):
                assert "being stopped" in error_of(got(api, path), 503) and got(api, path).headers["retry-after"]
            assert got(api, "/livez").status_code == 200
        assert soon.result().status_code == 200
        assert "being stopped" in error_of(late.result(), 503)
        assert api.server.process.wait(PATIENCE) == 0
        assert not [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
        record = json.loads((api.folder / "jobs" / "job.json").read_text())
        assert record["state"] == "failed" and "resume it to go on" in record["error"]
        assert (api.folder / "job_runs" / "job" / "checkpoint.pt").exists()


def test_a_batch_that_does_not_fit_is_halved_and_a_row_that_does_not_fails_alone(faulty: Api) -> None:
    alone = [decoded(asked(faulty, seed=seed).content)[0] for seed in range(6)]
    with ThreadPoolExecutor(7) as pool:
        long = pool.submit(asked, faulty, "long", duration_seconds=20, steps=60)
        wait_until(lambda: is_made(faulty, "long"))  # the others come while it is under way, and so together
        together = [pool.submit(asked, faulty, seed=seed) for seed in range(6)]
        large = pool.submit(asked, faulty, prompt="too large")
    assert long.result().status_code == 200
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one - decoded(other.result().content)[0]).max() <= 1.01 / 2**15
    assert "more memory than ace_step has now; ask for less" in error_of(large.result(), 503)
    assert large.result().headers["retry-after"]
    assert (decoded(asked(faulty, seed=0).content)[0] == alone[0]).all()


def test_values_that_are_not_finite_end_their_row(faulty: Api) -> None:
    alone = decoded(asked(faulty).content)[0]
    with ThreadPoolExecutor(3) as pool:
        broken, *good = pool.map(
            lambda prompt: asked(faulty, prompt=prompt), ["not a number", "dark trap", "dark trap"]
        )
    assert "not finite" in error_of(broken, 500)
    for each in good:
        assert np.abs(decoded(each.content)[0] - alone).max() <= 1.01 / 2**15


@pytest.mark.parametrize(("prompt", "reason"), [("hangs", "did not end within"), ("breaks the device", "CUDA error")])
def test_a_runner_that_can_do_no_more_is_replaced(faulty: Api, prompt: str, reason: str) -> None:
    before = decoded(asked(faulty).content)[0]
    process = faulty.process("AceStepRunner")
    with ThreadPoolExecutor(2) as pool:
        broken, neighbour = pool.map(lambda each: asked(faulty, prompt=each), [prompt, "dark trap"])
    assert "ace_step: " in error_of(broken, 503) and reason in error_of(broken, 503)
    assert neighbour.status_code in (200, 503)
    # Nobody is told that it is ready while it is not.
    told = faulty.get("/backends")["backends"][0]
    assert told["name"] == "ace_step" and not told["ready"] and reason in told["reason"]
    assert reason in faulty.client.get("/status").text
    assert faulty.client.get("/readyz").status_code == 200
    assert "cannot serve" in error_of(asked(faulty), 503)
    fallback = faulty.post("/generate", prompt="dark trap", duration_seconds=1)
    assert fallback["backend"] == "musicgen"
    wait_until_ready(faulty)
    assert (decoded(asked(faulty).content)[0] == before).all()
    assert not process.is_running()
