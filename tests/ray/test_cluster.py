"""Jobs on a Ray cluster of two nodes on this machine: `make test-ray`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import soundfile

from adapters.library import Library
from contract import TrainRequest
from core.settings import ROOT, Settings
from recipes.synthesiser import render, sample_song
from scripts.serving import comes_up, free_port, stop
from storage import Storage, keys, open_storage
from tests.api import PATIENCE, command_of
from training.jobs.admission import Admission
from training.jobs.launch import launcher
from training.jobs.record import JobRecord
from training.jobs.store import Jobs
from training.jobs.supervisor import STOPPED, Supervisor

RAY = ROOT / "build" / "ray" / "bin" / "ray"
pytestmark = pytest.mark.skipif(not RAY.exists(), reason="make test-ray has it")

# A resource of the second node alone, so that Ray sends the job there.
RESOURCES = {"twins": 1.0}
SECRET = "open sesame"


@contextmanager
def _node(log: Path, url: str, *options: str) -> Iterator[int]:
    """Run a node. Yields the id of its main process once `url` answers."""
    ports = {"min-worker-port": 0, "max-worker-port": 0, "dashboard-agent-listen-port": free_port()}
    places = [f"--{name}={port}" for name, port in ports.items()]
    # One processor, and as little object memory as Ray allows: the node only has to start a process.
    small = ["--num-cpus=1", "--object-store-memory=80000000"]
    command = [str(RAY), "start", "--block", "--disable-usage-stats", "--node-ip-address=127.0.0.1", *places, *small]
    with log.open("ab") as output:
        process = subprocess.Popen([*command, *options], stdout=output, stderr=output, start_new_session=True)
    try:
        assert comes_up(process, url, 300), log.read_text()[-4000:]
        yield process.pid
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        stop(process, 30)
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """The URL of the head's job server, and the id of the second node's main process."""
    logs = tmp_path_factory.mktemp("logs")
    port, dashboard, client = (free_port() for _ in range(3))
    url = f"http://127.0.0.1:{dashboard}"
    # A short name, since the paths of Unix sockets are limited.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        head = [f"--port={port}", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
        head += [f"--ray-client-server-port={client}", f"--temp-dir={folder}"]
        own = [f"--address=127.0.0.1:{port}", f"--resources={json.dumps(RESOURCES)}"]
        with (
            _node(logs / "head.log", f"{url}/api/version", "--head", *head),
            _node(logs / "node.log", f"{url}/api/jobs/", *own) as second,
        ):
            yield url, second


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: dict[str, str]) -> Storage:
    url = (tmp_path / "data").as_uri()
    # One thread everywhere, since the order of a sum changes its rounding.
    own = {"STORAGE_URL": url, "OMP_NUM_THREADS": "1"}
    secrets = dict.fromkeys(("HF_TOKEN", "GEMINI_API_KEY", "AWS_SECRET_ACCESS_KEY"), SECRET)
    for name, value in (tiny | own | secrets).items():
        monkeypatch.setenv(name, value)
    storage = open_storage(url)
    beat = tmp_path / "beat.wav"
    soundfile.write(beat, render(sample_song(np.random.default_rng(5)), 8, 44_100).T, 44_100)
    storage.put_file(keys.upload("ada", "j", "beat.wav"), beat)
    return storage


def _admitted(storage: Storage, name: str, steps: int) -> JobRecord:
    body = {"producer_id": "ada", "upload_paths": ["/data/uploads/ada/j/beat.wav"], "seed": 3}
    request = TrainRequest.model_validate(body | {"model_name": name, "job_id": name, "max_steps": steps})
    return Admission(storage, Settings()).admit(request)


def _supervised(storage: Storage, record: JobRecord, url: str | None, until: Callable[[Jobs], bool]) -> JobRecord:
    """Run the job until its record satisfies a condition; then stop its supervisor."""

    async def supervise() -> None:
        config = Settings(train_ray_url=url, train_ray_resources=RESOURCES)
        supervisor = Supervisor(Jobs(storage), 1, launcher(config))
        supervisor.start(record.job_id)
        async with asyncio.timeout(PATIENCE):
            while not await asyncio.to_thread(until, Jobs(storage)):
                await asyncio.sleep(0.3)
        await supervisor.stop()

    asyncio.run(supervise())
    return Jobs(storage).get(record.job_id)


def _process(job_id: str) -> psutil.Process:
    """The process that trains, on whichever node."""
    [found] = [each for each in psutil.process_iter() if command_of(each)[1:4] == ["-m", "training.run", job_id]]
    return found


def test_a_twin_of_the_cluster_is_the_one_that_is_trained_here(cluster: tuple[str, int], storage: Storage) -> None:
    url, second = cluster
    of_second = []

    def ended(jobs: Jobs) -> bool:
        for each in psutil.process_iter():
            if command_of(each)[1:4] == ["-m", "training.run", "there"]:
                of_second.append(second in [parent.pid for parent in each.parents()])
        return jobs.get("there").state in ("done", "failed")

    there = _supervised(storage, _admitted(storage, "there", 4), url, ended)
    assert there.state == "done", there.error
    assert of_second and all(of_second)
    here = _supervised(
        storage, _admitted(storage, "here", 4), None, lambda jobs: jobs.get("here").state in ("done", "failed")
    )
    assert here.state == "done", here.error
    # Ray's dashboard shows the job's metadata.
    told = httpx.get(f"{url}/api/jobs/", trust_env=False).text
    assert "STORAGE_URL" in told and "ACE_STEP_MODEL" in told and SECRET not in told
    library = Library(storage)
    assert library.find("ada:there")[0].header.sha256 == library.find("ada:here")[0].header.sha256


def test_a_process_that_dies_in_the_cluster_fails_its_job(cluster: tuple[str, int], storage: Storage) -> None:
    killed: list[bool] = []

    def dead(jobs: Jobs) -> bool:
        record = jobs.get("dies")
        if record.step and not killed:
            _process("dies").send_signal(signal.SIGKILL)
            killed.append(True)
        return record.state == "failed"

    record = _supervised(storage, _admitted(storage, "dies", 100_000), cluster[0], dead)
    assert "FAILED in Ray" in str(record.error) and "resume the job" in str(record.error)


def test_a_job_of_the_cluster_stops_with_its_supervisor_and_goes_on(cluster: tuple[str, int], storage: Storage) -> None:
    url = cluster[0]
    record = _supervised(storage, _admitted(storage, "stops", 100_000), url, lambda jobs: bool(jobs.get("stops").step))
    assert record.state == "failed" and record.error == STOPPED
    assert storage.stat(keys.checkpoint("stops"))
    before = record.step or 0
    jobs = Jobs(storage)

    def cancelled(jobs: Jobs) -> bool:
        now = jobs.get("stops")
        if now.state == "training" and (now.step or 0) > before and not now.cancelling:
            jobs.cancel("stops")  # the process reads the cancellation in the record
        return now.state == "cancelled"

    ended = _supervised(storage, jobs.reopen("stops"), url, cancelled)
    assert ended.attempt == 1 and (ended.step or 0) > before
    assert Library(storage).exists("ada:stops")
