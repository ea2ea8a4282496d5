"""What breaks, breaks alone, says so, and comes back by itself."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import psutil
import pytest

from tests.api import PATIENCE, Api, Json, beat, decoded, error_of, running, wait_until_ready

BODY: Json = {"prompt": "dark trap", "duration_seconds": 1, "seed": 7, "backend_override": "ace_step"}
HUNG_SECONDS = 3


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[Api]:
    environment = tiny | {"HUNG_SECONDS": str(HUNG_SECONDS)}
    with running(tmp_path_factory.mktemp("faulty"), environment, what="tests.faulty:ProducerTwin") as api:
        yield api


def asked(api: Api, **more: object) -> httpx.Response:
    return api.client.post("/generate", json=BODY | more, headers={"accept": "audio/wav"})


def test_a_server_that_is_told_to_stop(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> None:
    """Here MusicGen has no model: it says so, and ACE-Step serves."""
    environment = tiny | {"MUSICGEN_MODEL": "/no/such/model", "STOP_SECONDS": "6"}
    with running(tmp_path_factory.mktemp("stopped"), environment, ("ace_step",)) as api:
        end = time.monotonic() + PATIENCE
        while "no such folder" not in (reason := api.get("/backends")["backends"][1]["reason"]):
            assert time.monotonic() < end, reason
            time.sleep(0.3)
        assert "no such folder" in error_of(asked(api, backend_override="musicgen"), 503)
        path = api.upload("ada", beat(8))
        api.post("/train/submit", producer_id="ada", upload_paths=[path], job_id="job", max_steps=100_000)
        while not api.get("/jobs/job")["step"]:
            time.sleep(0.3)
        processes = [psutil.Process(api.server.process.pid), *api.children()]
        with ThreadPoolExecutor(2) as pool:
            soon = pool.submit(asked, api, duration_seconds=2)
            late = pool.submit(asked, api, duration_seconds=600, steps=200)
            time.sleep(0.3)
            api.server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            for path in ("/readyz", "/backends"):
                refused = httpx.get(f"{api.server.url}{path}", timeout=5, trust_env=False)
                assert "being stopped" in error_of(refused, 503) and refused.headers["retry-after"]
            assert httpx.get(f"{api.server.url}/livez", timeout=5, trust_env=False).status_code == 200
        assert soon.result().status_code == 200
        assert "being stopped" in error_of(late.result(), 503)
        assert api.server.process.wait(60) == 0
        assert not [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
        record = json.loads((api.folder / "jobs" / "job.json").read_text())
        assert record["state"] == "failed" and "resume it to go on" in record["error"]
        assert (api.folder / "job_runs" / "job" / "checkpoint.pt").exists()


def test_a_batch_that_does_not_fit_is_halved_and_a_row_that_does_not_fails_alone(faulty: Api) -> None:
    alone = [decoded(asked(faulty, seed=seed).content)[0] for seed in range(6)]
    with ThreadPoolExecutor(7) as pool:
        long = pool.submit(asked, faulty, duration_seconds=10)
        time.sleep(0.2)  # the others come while it is under way, and so together
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
