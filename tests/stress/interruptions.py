"""Trainings that are interrupted at random moments and resumed.

    python -m tests.stress.interruptions [--count 20] [--backend ace_step]

One job runs undisturbed. The others, of the same request, are interrupted: the job is cancelled, its process is killed,
its supervisor (the server's part) is killed or asked to stop, or both processes are killed at once as by a power cut.
Then each is resumed. Every job must end as done with the adapter of the undisturbed one, to the bit, and any adapter in
storage must be whole at any moment.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import soundfile

from adapters.library import Library
from adapters.stored_adapter import is_intact
from contract import TERMINAL, TrainRequest
from core.settings import ROOT, Settings
from recipes.synthesiser import render, sample_song
from storage import Storage, keys, open_storage
from tests.api import trainings
from training.jobs.admission import Admission
from training.jobs.record import JobRecord
from training.jobs.store import Jobs
from training.jobs.supervisor import Supervisor

_STEPS, _SONGS, _SECONDS = 30, 3, 6
_KINDS = ("cancel", "kill the trainer", "kill the server", "kill both", "stop the server")
_MAX_SECONDS = 600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--backend", default="ace_step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--host", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.host:
        asyncio.run(_host(Jobs(configured_storage()), options.host))
        return
    with tempfile.TemporaryDirectory(prefix="interruptions-") as folder:
        os.environ |= {
            "STORAGE_URL": (Path(folder) / "data").as_uri(),
            "BENTOML_HOME": folder + "/bentoml",
            "XDG_CACHE_HOME": folder + "/cache",
            "MAX_DURATION_SECONDS": "1",  # short previews, since nothing here checks them
            "TRAIN_CHECKPOINT_SECONDS": "1",
        }
        _Interruptions(options.backend, random.Random(options.seed)).run(options.count)


class _Interruptions:
    def __init__(self, backend: str, rng: random.Random) -> None:
        self.backend, self.rng = backend, rng
        self.storage = configured_storage()
        self.jobs, self.library = Jobs(self.storage), Library(self.storage)
        self.admission = Admission(self.storage, Settings())
        self.paths = [song(self.storage, number, _SECONDS) for number in range(_SONGS)]

    def run(self, count: int) -> None:
        record = self._submit("undisturbed")
        self._finish(record, _start(record.job_id))
        wanted = self._adapter(record)
        same = 0
        print(f"{'':3} {'what':17} {'at':12} {'told after':>10}  {'as':10} {'went on at':>10}  same adapter")
        for number in range(count):
            kind = _KINDS[number % len(_KINDS)]
            record = self._submit(f"twin-{number}")
            host = _start(record.job_id)
            at = self._wait(record, self.rng.choice([0, *range(1, _STEPS)]))
            told = self._interrupt(record, host, kind)
            after = self.jobs.get(record.job_id)
            if after.state != "done":
                after = self.admission.resume(record.job_id)
                again = _start(record.job_id)
                first = self._first_step(record)
                self._finish(record, again)
            else:
                first = None
            equal = self._adapter(record) == wanted
            same += equal
            went_on = "–" if first is None else str(first)
            line = f"{number + 1:3} {kind:17} {at:12} {told[1]:8.1f} s  {told[0]:10} {went_on:>10}  "
            print(line + ("yes" if equal else "NO"), flush=True)
        print(f"{same} of {count} came to the undisturbed adapter, to the bit")
        if same < count:
            sys.exit(1)

    def _submit(self, model: str) -> JobRecord:
        fields = {"producer_id": "ada", "upload_paths": self.paths, "model_name": model, "max_steps": _STEPS}
        return self.admission.admit(TrainRequest.model_validate(fields | {"backend_override": self.backend}))

    def _wait(self, record: JobRecord, step: int) -> str:
        """Wait until the job has taken `step` steps; with 0, for a random time before the first."""
        if not step:
            time.sleep(self.rng.uniform(0.5, 4))
        while step and (now := self._look(record)).state not in TERMINAL and (now.step or 0) < step:
            time.sleep(0.05)
        now = self._look(record)
        return f"step {now.step}" if now.step else now.state

    def _interrupt(self, record: JobRecord, host: subprocess.Popen[bytes], kind: str) -> tuple[str, float]:
        """Interrupt the job. Returns the state that its record then shows, and after how many seconds."""
        trainers = trainings(psutil.Process(host.pid))
        start = time.monotonic()
        if kind == "cancel":
            if self._look(record).state not in TERMINAL:
                self.jobs.cancel(record.job_id)
                for trainer in trainers:
                    trainer.terminate()
        elif kind == "stop the server":
            host.terminate()
        else:
            for process in {"kill the trainer": trainers, "kill the server": [host], "kill both": [host, *trainers]}[
                kind
            ]:
                process.kill()
        while (now := self._look(record)).state not in TERMINAL:
            assert time.monotonic() - start < _MAX_SECONDS, now
            time.sleep(0.1)
        told = time.monotonic() - start
        host.terminate()
        host.wait()
        psutil.wait_procs(trainers, _MAX_SECONDS)
        return now.state, told

    def _first_step(self, record: JobRecord) -> int | None:
        """The step at which a resumed job continues."""
        while (now := self._look(record)).state not in ("training", "evaluating", *TERMINAL):
            time.sleep(0.05)
        return now.step

    def _finish(self, record: JobRecord, host: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + _MAX_SECONDS
        while (now := self._look(record)).state not in TERMINAL:
            assert time.monotonic() < end, now
            time.sleep(0.1)
        host.wait()
        assert now.state == "done", now.error

    def _look(self, record: JobRecord) -> JobRecord:
        """The job's record. Checks that an adapter in storage is whole."""
        now = self.jobs.get(record.job_id)
        if self.library.exists(f"ada:{record.model_name}"):
            twin = self.library.find(f"ada:{record.model_name}")[0]
            assert is_intact(self.library.read(twin), twin.header)
        return now

    def _adapter(self, record: JobRecord) -> str:
        """The digest of the adapter's tensors."""
        header = self.library.find(f"ada:{record.model_name}")[0].header
        assert not header.partial
        return header.sha256


async def _host(jobs: Jobs, job_id: str) -> None:
    """Supervise a job as the server does, without the rest of the server."""
    supervisor = Supervisor(jobs, at_once=1)
    supervisor.start(job_id)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    while not stop.is_set() and (await asyncio.to_thread(jobs.get, job_id)).state not in TERMINAL:
        await asyncio.sleep(0.1)
    await supervisor.stop()


def _start(job_id: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.stress.interruptions", "--host", job_id]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def configured_storage() -> Storage:
    config = Settings()
    return open_storage(config.storage_url, config.s3_endpoint_url)


def song(storage: Storage, number: int, seconds: int, repeats: int = 1) -> str:
    """Store an upload of a song of the synthesiser, `repeats` times in a row. Returns its path."""
    with tempfile.NamedTemporaryFile(suffix=".flac") as file:
        wave = render(sample_song(np.random.default_rng(number), "house"), seconds, 44_100)
        soundfile.write(file.name, np.tile(wave, repeats).T, 44_100)
        key = keys.upload("ada", "songs", f"{number}.flac")
        storage.put_file(key, Path(file.name))
    return keys.to_path(key)


if __name__ == "__main__":
    main()
