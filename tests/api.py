"""A running service as its clients see it: HTTP, and the folder of its storage."""

from __future__ import annotations

import base64
import io
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import soundfile
from numpy.typing import NDArray

from recipes.synthesiser import render, sample_song
from scripts.serving import Server, serving
from training.jobs.fork import PROCESS_NAME

Json = dict[str, Any]
Samples = NDArray[np.float64]  # (frames, channels); full scale is ±1

BACKENDS = ("ace_step", "musicgen")
both_backends = pytest.mark.parametrize("backend", BACKENDS)
# Settings of a service without MusicGen, which starts faster.
ACE_STEP_ONLY = {"ALLOW_NONCOMMERCIAL": "false"}
# Of the tiny checkpoints, as of the real ones.
RATES = {"ace_step": 48_000, "musicgen": 32_000}
CHANNELS = {"ace_step": 2, "musicgen": 1}
# Seconds to wait for what takes seconds on an idle machine, and minutes on a busy one.
PATIENCE = 600.0


@dataclass(frozen=True)
class Api:
    """A running service.

    Attributes:
        server: its process, URL and log.
        client: an HTTP client of it.
        folder: the root of its storage, which clients know as `/data`.
    """

    server: Server
    client: httpx.Client
    folder: Path

    def post(self, path: str, **body: Any) -> Json:
        return checked(self.client.post(path, json=body))

    def get(self, path: str, **query: str) -> Json:
        return checked(self.client.get(path, params=query))

    def upload(self, producer: str, data: bytes, **more: Any) -> str:
        path: str = self.post("/store-upload", producer_id=producer, content_base64=as_base64(data), **more)["path"]
        return path

    def generate(self, **body: Any) -> Samples:
        """Generate a short track with a fixed seed, unless the body says otherwise."""
        made = self.post("/generate", **({"prompt": "dark trap", "duration_seconds": 2, "seed": 7} | body))
        return decoded(base64.b64decode(made["audio_base64"]))[0]

    def ended(self, some_id: str) -> Json:
        """Wait until the job has ended, and return its record."""
        end = time.monotonic() + PATIENCE
        while (job := self.get(f"/jobs/{some_id}"))["state"] not in ("done", "failed", "cancelled"):
            assert time.monotonic() < end, job
            time.sleep(0.3)
        return job

    def file(self, path: str) -> Path:
        """The file behind a `/data/…` path."""
        assert path.startswith("/data/")
        return self.folder / path.removeprefix("/data/")

    def stored(self) -> dict[str, tuple[int, int] | None]:
        """Every path in storage with its size in bytes and its modification time in ns; None for a folder.

        Lock files are left out, and so are the marks of open jobs that have a record: a mark is removed some time after
        the record says that the job has ended.
        """
        found: dict[str, tuple[int, int] | None] = {}
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder).as_posix()
            if name.startswith(".locks"):
                continue
            with suppress(FileNotFoundError):  # it was deleted meanwhile
                status = path.stat()
                found[name] = None if stat.S_ISDIR(status.st_mode) else (status.st_size, status.st_mtime_ns)
        for name in [name for name in found if name.startswith("open_jobs/")]:
            if f"jobs/{name.removeprefix('open_jobs/')}.json" in found:
                del found[name]
        found.pop("open_jobs", None)
        return found

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.server.process.pid).children(recursive=True)

    def process(self, service: str) -> psutil.Process:
        """The process of the BentoML service of this name."""
        for process in self.children():
            line = command_of(process)
            if "--service-name" in line and line[line.index("--service-name") + 1] == service:
                return process
        raise AssertionError(f"there is no process of {service}")


@contextmanager
def running(
    folder: Path,
    environment: dict[str, str],
    backends: tuple[str, ...] = BACKENDS,
    token: str | None = None,
    what: str = "service:ProducerTwin",
) -> Iterator[Api]:
    """Start a server; yield once `backends` are ready.

    Args:
        folder: for its data, model store and log.
        environment: its settings.
        backends: those to wait for.
        token: an API key that the client sends.
        what: the import path of the service.
    """
    headers = {"authorization": f"Bearer {token}"} if token else {}
    patient = {"TRAIN_ANSWER_SECONDS": str(PATIENCE)}  # a busy machine trains for minutes
    with (
        serving(folder, patient | environment, (what,)) as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False, headers=headers) as client,
    ):
        api = Api(server, client, folder / "data")
        wait_until_ready(api, backends)
        yield api


def wait_until(true: Callable[[], object], patience: float = PATIENCE, pause: float = 0.1) -> None:
    """Call `true` every `pause` seconds until it returns something true. Fails after `patience` seconds."""
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, f"not within {patience:g} s"
        time.sleep(pause)


def command_of(process: psutil.Process) -> list[str]:
    """The command line of a process; empty if the process has ended."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def trainings(parent: psutil.Process) -> list[psutil.Process]:
    """The processes of jobs below a process. One whose template still imports is not among them."""
    found = []
    for process in parent.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name() == PROCESS_NAME or "training.run" in process.cmdline():
                found.append(process)
    return found


def wait_until_ready(api: Api, backends: tuple[str, ...] = BACKENDS, patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while True:
        rows = {row["name"]: row for row in api.get("/backends")["backends"]}
        if all(rows[name]["ready"] for name in backends):
            return
        assert time.monotonic() < end, rows
        time.sleep(0.3)


def checked(answer: httpx.Response) -> Json:
    assert answer.status_code == 200, f"{answer.request.url}: {answer.status_code} {answer.text[:2000]}"
    document: Json = answer.json()
    return document


def error_of(answer: httpx.Response, status: int) -> str:
    """Check that the answer is an error of this status in the contract's form, and return its message."""
    assert answer.status_code == status, answer.text[:2000]
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert list(document) == ["error"], document
    error: str = document["error"]
    assert isinstance(error, str) and error.strip() and "\n" not in error, document
    return error


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def peak(process: psutil.Process) -> int:
    """The largest resident memory that the process has had, in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def decoded(file: bytes) -> tuple[Samples, int]:
    samples, rate = soundfile.read(io.BytesIO(file), always_2d=True)
    return samples, rate


def beat(seconds: float, format: str = "WAV", number: int = 7, rate: int = 48_000, channels: int = 2) -> bytes:
    """A song of the synthesiser as an audio file."""
    wave = render(sample_song(np.random.default_rng(number), "trap"), seconds, rate, channels)
    file = io.BytesIO()
    soundfile.write(file, wave.T, rate, format=format)
    return file.getvalue()
