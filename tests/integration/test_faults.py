"""Faults of processes, models and disks: each is contained, reported, and recovered from."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from contract.jobs import TERMINAL
from tests.api import PATIENCE, Api, Json, beat, checked, decoded, error_of, running, wait_until, wait_until_ready
from tests.disks import filled, small_disk
from tests.sounds import MAX_ROUNDING

pytestmark = pytest.mark.long

BODY: Json = {"prompt": "dark trap", "duration_seconds": 1, "seed": 7, "backend_override": "ace_step"}
HUNG_SECONDS = 6


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[Api]:
    environment = tiny | {"HUNG_SECONDS": str(HUNG_SECONDS)}
    with running(tmp_path_factory.mktemp("faulty"), environment, what="tests.faulty:ProducerTwin") as api:
        yield api


@pytest.fixture(autouse=True)
def _end_jobs(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that fails leaves no endless training to those after it."""
    yield
    if "faulty" in request.fixturenames:
        api: Api = request.getfixturevalue("faulty")
        with suppress(httpx.HTTPError, AssertionError):
            for job in api.get("/jobs")["jobs"]:
                if job["state"] not in TERMINAL:
                    api.client.post(f"/jobs/{job['job_id']}/cancel")


def asked(api: Api, request_id: str = "", **more: object) -> httpx.Response:
    headers = {"accept": "audio/wav"} | ({"x-request-id": request_id} if request_id else {})
    return api.client.post("/generate", json=BODY | more, headers=headers)


def is_made(api: Api, request_id: str) -> bool:
    """Whether the runner works on this request's track."""
    answer = api.client.get(f"/queue/{request_id}")
    return answer.status_code == 200 and answer.json()["state"] == "making"


def wait_until_made(api: Api, request_id: str, answer: Future[httpx.Response]) -> None:
    """Wait until the runner works on the track. Fails at once if the request was answered before."""

    def made() -> bool:
        assert not answer.done(), answer.result().text[:200]
        return is_made(api, request_id)

    wait_until(made, pause=0.02)


def figure(api: Api, name: str) -> float:
    """A metric's value, summed over its labels."""
    text = api.client.get("/metrics").text
    return sum(float(value) for value in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE))


def trained(api: Api, producer: str, **more: object) -> Json:
    """A job that has taken a step. Its id is new, so that a test can run again."""
    path = api.upload(producer, beat(8))
    job: Json = {"producer_id": producer, "upload_paths": [path], "job_id": uuid.uuid4().hex} | more
    api.post("/train/submit", **job)
    wait_until(lambda: api.get(f"/jobs/{job['job_id']}")["step"])
    return api.get(f"/jobs/{job['job_id']}")


def received(process: psutil.Process) -> int:
    """The size in bytes of the largest temporary file that the process has open: the body of an upload."""
    sizes = [0]
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if link.readlink().name.endswith("(deleted)"):
                sizes.append(link.stat().st_size)
    return max(sizes)


def got(api: Api, path: str) -> httpx.Response:
    """GET on a new connection."""
    return httpx.get(f"{api.server.url}{path}", timeout=PATIENCE, trust_env=False)


def test_a_server_that_is_asked_to_stop(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> None:
    """MusicGen has no model here: it says so, and ACE-Step serves."""
    environment = tiny | {"MUSICGEN_MODEL": "/no/such/model", "STOP_SECONDS": "12"}
    with running(tmp_path_factory.mktemp("stopped"), environment, ("ace_step",)) as api:
        wait_until(lambda: "no such folder" in api.get("/backends")["backends"][1]["reason"])
        assert "no such folder" in error_of(asked(api, backend_override="musicgen"), 503)
        path = api.upload("ada", beat(8))
        api.post("/train/submit", producer_id="ada", upload_paths=[path], job_id="job", max_steps=100_000)
        wait_until(lambda: api.get("/jobs/job")["step"])
        api.post("/train/submit", producer_id="ada", upload_paths=[path], job_id="next", max_steps=2)
        processes = [psutil.Process(api.server.process.pid), *api.children()]
        with ThreadPoolExecutor(2) as pool:
            late = pool.submit(asked, api, "late", duration_seconds=600, steps=200)
            wait_until_made(api, "late", late)
            soon = pool.submit(asked, api, "soon", duration_seconds=2, steps=16)
            wait_until(lambda: is_made(api, "soon") or soon.done(), pause=0.01)
            api.server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: got(api, "/readyz").status_code == 503)  # once the API has received the signal
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
        assert json.loads((api.folder / "jobs" / "next.json").read_text())["state"] == "queued"


def test_a_batch_too_large_for_memory_is_halved_and_a_row_too_large_fails_alone(faulty: Api) -> None:
    alone = [decoded(asked(faulty, seed=seed).content)[0] for seed in range(6)]
    with ThreadPoolExecutor(7) as pool:
        long = pool.submit(asked, faulty, "long", prompt="takes its time", steps=4)
        wait_until_made(faulty, "long", long)  # the others arrive while it runs, so they form one batch
        together = [pool.submit(asked, faulty, seed=seed) for seed in range(6)]
        large = pool.submit(asked, faulty, prompt="too large")
    assert long.result().status_code == 200
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one - decoded(other.result().content)[0]).max() <= MAX_ROUNDING
    assert "more memory than ace_step has now; ask for less" in error_of(large.result(), 503)
    assert large.result().headers["retry-after"]
    assert (decoded(asked(faulty, seed=0).content)[0] == alone[0]).all()


def test_values_that_are_not_finite_fail_their_row_only(faulty: Api) -> None:
    alone = decoded(asked(faulty).content)[0]
    with ThreadPoolExecutor(3) as pool:
        broken, *good = pool.map(
            lambda prompt: asked(faulty, prompt=prompt), ["not a number", "dark trap", "dark trap"]
        )
    assert "not finite" in error_of(broken, 500)
    for each in good:
        assert np.abs(decoded(each.content)[0] - alone).max() <= MAX_ROUNDING


@pytest.mark.parametrize(("prompt", "reason"), [("hangs", "did not end within"), ("breaks the device", "CUDA error")])
def test_a_runner_that_hangs_or_breaks_is_replaced(faulty: Api, prompt: str, reason: str) -> None:
    before = decoded(asked(faulty).content)[0]
    process = faulty.process("AceStepRunner")
    turns = figure(faulty, "producer_twin_turn_rows_count")
    with ThreadPoolExecutor(2) as pool:
        broken, neighbour = pool.map(lambda each: asked(faulty, prompt=each), [prompt, "dark trap"])
    assert "ace_step: " in error_of(broken, 503) and reason in error_of(broken, 503)
    assert neighbour.status_code in (200, 503)
    # It is reported as not ready while it is not.
    told = faulty.get("/backends")["backends"][0]
    assert told["name"] == "ace_step" and not told["ready"] and reason in told["reason"]
    assert reason in faulty.client.get("/status").text
    assert faulty.client.get("/readyz").status_code == 200
    assert "cannot serve" in error_of(asked(faulty), 503)
    fallback = faulty.post("/generate", prompt="dark trap", duration_seconds=1)
    assert fallback["backend"] == "musicgen"
    wait_until_ready(faulty)
    # Counters keep their values, and no track is present any more.
    assert figure(faulty, "producer_twin_turn_rows_count") >= turns > 0
    assert not figure(faulty, "producer_twin_tracks_present")
    assert (decoded(asked(faulty).content)[0] == before).all()
    assert not process.is_running()


def test_runners_and_training_outlive_a_killed_api(faulty: Api) -> None:
    """Meanwhile a track is made, a file is uploaded and a twin is trained."""
    before = trained(faulty, "survivor", max_steps=100_000)
    job = before["job_id"]
    requests = figure(faulty, "producer_twin_request_seconds_count")
    front, runner = faulty.process("ProducerTwin"), faulty.process("AceStepRunner")
    killed = threading.Event()
    boundary, file = uuid.uuid4().hex, beat(8)

    def parts() -> Iterator[bytes]:
        for name, more, value in (
            ("producer_id", "", b"survivor"),
            ("job_id", "", b"late"),
            ("file", '; filename="late.wav"', file[:-1000]),
        ):
            yield f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value
            yield b"\r\n" if name != "file" else b""
        killed.wait(PATIENCE)
        yield file[-1000:] + f"\r\n--{boundary}--\r\n".encode()

    def upload() -> httpx.Response:
        kind = {"content-type": f"multipart/form-data; boundary={boundary}"}
        return httpx.post(f"{faulty.server.url}/uploads", content=parts(), headers=kind, timeout=PATIENCE)

    with ThreadPoolExecutor(2) as pool:
        broken_off = [pool.submit(upload), pool.submit(asked, faulty, "kept", duration_seconds=600, steps=200)]
        wait_until_made(faulty, "kept", broken_off[1])
        # A connection that the front has not accepted would be served by its successor.
        wait_until(lambda: received(front) > len(file) // 2)
        front.kill()
        killed.set()
        for each in broken_off:
            with pytest.raises(httpx.TransportError):
                each.result()

    def is_back() -> bool:
        try:
            return got(faulty, "/readyz").status_code == 200
        except httpx.TransportError:
            return False

    wait_until(is_back)
    assert not front.is_running() and runner.is_running()
    # The runner drops the track, for which no client waits; the training continues.
    wait_until(lambda: not figure(faulty, "producer_twin_tracks_present"))
    assert figure(faulty, "producer_twin_request_seconds_count") > requests
    wait_until(lambda: (faulty.get(f"/jobs/{job}")["step"] or 0) > before["step"])
    assert faulty.post(f"/jobs/{job}/cancel")["state"] in ("training", "cancelled")
    assert faulty.ended(job)["state"] == "cancelled"
    assert faulty.client.get("/loras/survivor:nawfside_lora").status_code == 200
    # Nothing is left of the upload, and it can be sent again.
    assert not [name for name in faulty.stored() if "late" in name or ".new-" in name]
    form = {"files": {"file": ("late.wav", file)}, "data": {"producer_id": "survivor", "job_id": "late"}}
    path = checked(faulty.client.post("/uploads", **form))["path"]  # type: ignore[arg-type]
    assert faulty.file(path).read_bytes() == file


def test_queued_jobs_outlive_the_training_service(faulty: Api) -> None:
    first = trained(faulty, "first", max_steps=100_000)["job_id"]
    path = faulty.upload("second", beat(8))
    second = uuid.uuid4().hex
    faulty.post("/train/submit", producer_id="second", upload_paths=[path], job_id=second, max_steps=2)
    assert faulty.get(f"/jobs/{second}")["state"] == "queued"
    service = faulty.process("Training")
    service.kill()
    assert faulty.ended(second)["state"] == "done"
    assert faulty.process("Training").pid != service.pid
    # The job that had started has continued.
    assert faulty.get(f"/jobs/{first}")["state"] == "training"
    faulty.post(f"/jobs/{first}/cancel")
    assert faulty.ended(first)["state"] == "cancelled"


def test_a_disk_that_fills_while_a_twin_is_trained(faulty: Api) -> None:
    with (
        small_disk(faulty.folder / "jobs", 2**20) as records,
        small_disk(faulty.folder / "lora_versions" / "patient", 2**20) as versions,
    ):
        patient = trained(faulty, "patient", max_steps=30)["job_id"]
        with filled(records), filled(versions):
            # Longer than the heartbeat timeout.
            wait_until(lambda: time.time() - (records / f"{patient}.json").stat().st_mtime > 8)
            for _ in range(2):
                assert faulty.get(f"/jobs/{patient}")["error"] is None
            [job] = faulty.get("/jobs")["jobs"]
            assert job["state"] in ("training", "evaluating")
            assert "full" in error_of(faulty.client.post(f"/jobs/{patient}/cancel"), 507)
            before = faulty.stored()
            again = {"producer_id": "patient", "dataset_job_id": patient, "job_id": "again"}
            assert "full" in error_of(faulty.client.post("/train/submit", json=again), 507)
            # The mark of an open job without a record is removed after a minute.
            new = set(faulty.stored()) - set(before)
            assert {name for name in new if not name.startswith(f"job_runs/{patient}/")} <= {"open_jobs/again"}
        # With space on the disk again, the job finishes by itself.
        assert faulty.ended(patient)["state"] == "done"
        assert faulty.generate(lora_id="patient:nawfside_lora").any()
