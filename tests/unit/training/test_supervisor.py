"""The supervisor and the admission of jobs: real processes, and a Ray cluster that is away."""

from __future__ import annotations

import asyncio
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from contract import TrainRequest
from core.errors import Refusal
from core.settings import Settings
from recipes.synthesiser import render, sample_song
from storage import Storage, keys, open_storage
from tests.api import trainings
from training.jobs.admission import Admission
from training.jobs.launch import TrainingProcess, launcher
from training.jobs.record import JobRecord
from training.jobs.store import Jobs
from training.jobs.supervisor import Supervisor


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage((tmp_path / "data").as_uri())


def _request(**fields: object) -> TrainRequest:
    return TrainRequest.model_validate(
        {"producer_id": "ada", "upload_paths": ["/data/uploads/ada/j/beat.wav"]} | fields
    )


def _uploaded(storage: Storage, tmp_path: Path) -> TrainRequest:
    beat = tmp_path / "beat.wav"
    soundfile.write(beat, render(sample_song(np.random.default_rng(5)), 20, 44_100).T, 44_100)
    storage.put_file(keys.upload("ada", "j", "beat.wav"), beat)
    return _request(max_steps=100_000)


def _supervised(
    storage: Storage, record: JobRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: signal.Signals | None
) -> JobRecord:
    """Run the job under a supervisor until it trains, then kill its process or stop the supervisor."""
    monkeypatch.setenv("STORAGE_URL", (tmp_path / "data").as_uri())
    jobs = Jobs(storage)

    async def supervise() -> None:
        supervisor = Supervisor(jobs, at_once=1)
        supervisor.start(record.job_id)
        async with asyncio.timeout(600):  # a busy machine takes minutes to start a process
            while not (now := await asyncio.to_thread(jobs.get, record.job_id)).step:
                assert now.state != "failed", now.error
                await asyncio.sleep(0.3)
        if kill is None:
            await supervisor.stop()
            return
        for child in trainings(psutil.Process()):
            child.send_signal(kill)
        async with asyncio.timeout(600):
            while (await asyncio.to_thread(jobs.get, record.job_id)).state == "training":
                await asyncio.sleep(0.3)

    asyncio.run(supervise())
    return jobs.get(record.job_id)


@pytest.mark.slow
@pytest.mark.parametrize(("kill", "reason"), [(signal.SIGKILL, "SIGKILL"), (None, "server was stopped")])
def test_the_record_says_how_a_process_ended(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: signal.Signals | None, reason: str
) -> None:
    request = _uploaded(storage, tmp_path)
    record = Admission(storage, Settings()).admit(request)
    ended = _supervised(storage, record, tmp_path, monkeypatch, kill)
    assert ended.state == "failed" and reason in str(ended.error) and "resume" in str(ended.error)
    # No unfinished twin is stored.
    assert not list(storage.list("loras/")) and not list(storage.list("models/"))


class _SlowProcess:
    """A process that takes a while to start, and ends when it is asked to."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def start(self, job_id: str, attempt: int) -> TrainingProcess:
        await asyncio.sleep(0.3)
        return self

    async def wait(self) -> str | None:
        await self.ended.wait()
        return None

    async def end(self, grace_seconds: float) -> None:
        self.ended.set()

    def close(self) -> None:
        pass


def test_cancelling_waits_for_a_process_that_is_starting(storage: Storage, tmp_path: Path) -> None:
    record = Admission(storage, Settings()).admit(_uploaded(storage, tmp_path))

    async def supervise() -> bool:
        process = _SlowProcess()
        supervisor = Supervisor(Jobs(storage), 1, process)
        supervisor.start(record.job_id)
        while (await asyncio.to_thread(Jobs(storage).get, record.job_id)).state == "queued":
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
        await supervisor.cancel(record.job_id)
        return process.ended.is_set()

    assert asyncio.run(supervise())


class _Ray(BaseHTTPRequestHandler):
    """The head of a cluster that takes a job and does not know it afterwards."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._say(200, b'{"submission_id": "x", "job_id": "x"}')

    def do_GET(self) -> None:
        self._say(404, b"no such job")

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize(("there", "status", "reason"), [(False, 503, "cannot be reached"), (True, 500, "any more")])
def test_a_cluster_that_is_away_fails_the_job_with_the_reason(
    storage: Storage, tmp_path: Path, there: bool, status: int, reason: str
) -> None:
    record = Admission(storage, Settings()).admit(_uploaded(storage, tmp_path))

    async def supervise(url: str) -> None:
        supervisor = Supervisor(Jobs(storage), 1, launcher(Settings(train_ray_url=url)))
        supervisor.start(record.job_id)
        while (await asyncio.to_thread(Jobs(storage).get, record.job_id)).state != "failed":
            await asyncio.sleep(0.05)

    with ThreadingHTTPServer(("127.0.0.1", 0), _Ray) as server:
        if there:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        else:
            server.server_close()
        asyncio.run(supervise(f"http://127.0.0.1:{server.server_address[1]}"))
        if there:
            server.shutdown()
    ended = Jobs(storage).get(record.job_id)
    assert ended.error_status == status and reason in str(ended.error) and "resume the job" in str(ended.error)


def test_names_that_would_share_a_file_are_refused(storage: Storage, tmp_path: Path) -> None:
    request = _uploaded(storage, tmp_path)
    admission = Admission(storage, Settings())
    admission.admit(request.model_copy(update={"model_name": "b_c"}))
    storage.put(keys.upload("ada_b", "j", "beat.wav"), storage.get(keys.upload("ada", "j", "beat.wav")))
    other = _request(producer_id="ada_b", model_name="c", upload_paths=["/data/uploads/ada_b/j/beat.wav"])
    with pytest.raises(Refusal) as caught:
        admission.admit(other)
    assert caught.value.status == 409 and "file name of ada_b:c" in caught.value.message
