"""Mixed load with a fault every minute, then a check of answers, jobs, memory and storage.

    python -m tests.stress.soak --minutes 30

Starts a server of its own on tiny checkpoints, trains a twin and stores it under 50 names. Then clients ask for tracks
(with twins, with blends and without, on both backends), upload, train, list, and disconnect early. Meanwhile a runner,
a training process or the training service is killed, or a runner is stopped for some seconds. All twins have the same
weights, so that a track must equal the first one of the same length, backend and use of twins.

Ends with 1 if an answer was neither right nor an expected error, a job did not end as it should, a backend did not
become ready again, memory grew after warm-up, or storage holds an object without an owner.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import soundfile
from numpy.typing import NDArray

from contract import TERMINAL
from recipes.synthesiser import render, sample_song
from scripts.serving import Server, serving, tiny_checkpoints
from storage import Storage, keys, open_storage
from tests.adapter_files import with_header
from tests.api import trainings
from training.jobs.store import Jobs

TWINS = 50
CLIENTS = 6
# More queued trainings would not end in time on a slow machine.
MAX_QUEUED = 3
FAULT_SECONDS = 60.0
# At the end, jobs are waited for until none has made progress for so long.
MAX_IDLE_SECONDS = 600.0
# A batch and a blend each change a track by up to one step of 16 bits, and the first track may have been changed too.
MAX_DIFFERENCE = 3.03 / 2**15
# Of the resident memory after warm-up. Allocators keep some memory; a leak grows with time.
MAX_GROWTH = 1.25
# Statuses that are expected during a fault, or for an object that was deleted.
EXPECTED_ERRORS = {404, 409, 429, 503, 504}
KINDS = {
    *("uploads", "datasets", "training_data", "training_turns", "jobs", "open_jobs", "tasks", "job_data", "job_runs"),
    *("loras", "lora_owners", "lora_turns", "lora_deletions", "lora_versions", "models", "outputs"),
    *("tag_cache", "api_keys", "access"),
}


class Soak:
    def __init__(self, server: Server, storage: Storage, seed: int) -> None:
        self.server = server
        self.storage = storage
        self.random = random.Random(seed)
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.jobs: list[str] = []
        self.upload = ""
        self._end = 0.0
        # The first track by backend, length in seconds, and whether a twin was used.
        self._known: dict[tuple[str, float, bool], NDArray[np.float64]] = {}

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.server.url, timeout=300, trust_env=False)

    def prepare(self) -> None:
        """Train a twin, and store it under 50 names."""
        with self.client() as client:
            self.upload = self._upload(client, "soak", 4).raise_for_status().json()["path"]
            body = {"producer_id": "soak", "upload_paths": [self.upload], "model_name": "first", "max_steps": 2}
            client.post("/train", json=body, timeout=1200).raise_for_status()
        first = self.storage.get(keys.lora("soak", "first"))
        for number in range(TWINS):
            producer, model = f"p{number}", "twin"
            self.storage.put(keys.lora(producer, model), with_header(first, producer_id=producer, model_name=model))
            self.storage.put(keys.lora_owner(producer, model), f"{producer}:{model}".encode())

    def run(self, minutes: float) -> None:
        self._end = time.monotonic() + minutes * 60
        threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        warm = 0
        faults = [self._kill_runner, self._kill_training, self._stop_runner, self._kill_trainer]
        number = 0
        while time.monotonic() < self._end:
            time.sleep(max(0.0, min(FAULT_SECONDS, self._end - time.monotonic())))
            if time.monotonic() >= self._end:
                break
            if number == len(faults):
                warm = self._memory()
            self.answers[f"fault: {faults[number % len(faults)]()}"] += 1
            number += 1
        for thread in threads:
            thread.join()
        self._settle()
        grown = self._memory()
        if warm and grown > MAX_GROWTH * warm:
            self.wrong.append(f"memory grew from {warm >> 20} to {grown >> 20} MiB after warm-up")
        before = f"{warm >> 20} MiB after warm-up" if warm else "too short for a warm-up"
        print(f"memory: {before}, {grown >> 20} MiB at the end")
        self._walk()

    # Load

    def _ask(self, number: int) -> None:
        source = random.Random(number)
        calls: list[tuple[int, Callable[[httpx.Client, random.Random], str]]] = [
            (12, self._track), (2, self._go_away), (2, self._new_upload), (1, self._train), (1, self._cancel),
            (3, self._look),
        ]  # fmt: skip
        kinds = [call for weight, call in calls for _ in range(weight)]
        with self.client() as client:
            while time.monotonic() < self._end:
                call = source.choice(kinds)
                try:
                    outcome = call(client, source)
                except Exception as error:  # noqa: BLE001 - it is a finding
                    outcome = "wrong"
                    self.wrong.append(f"{call.__name__}: {type(error).__name__}: {str(error)[:300]}")
                self.answers[f"{call.__name__[1:]}: {outcome}"] += 1

    def _track(self, client: httpx.Client, source: random.Random) -> str:
        body: dict[str, Any] = {"prompt": "dark trap", "duration_seconds": source.choice([1, 2, 3]), "seed": 5}
        kind = source.choice(["base", "backend", "twin", "blend"])
        if kind == "backend":
            body["backend_override"] = source.choice(["ace_step", "musicgen"])
        elif kind == "twin":
            body["lora_id"] = f"p{source.randrange(TWINS)}:twin"
        elif kind == "blend":
            body["loras"] = [{"lora_id": f"p{number}:twin"} for number in source.sample(range(TWINS), 2)]
        return self._ask_for(client, body, kind in ("twin", "blend"))

    def _ask_for(self, client: httpx.Client, body: dict[str, Any], with_twin: bool) -> str:
        answer = client.post("/generate", json=body)
        if answer.status_code != 200:
            return named(answer)
        made = answer.json()
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(made["audio_base64"])))
        if abs(len(samples) / rate - body["duration_seconds"]) > 0.2 or not np.isfinite(samples).all():
            raise ValueError(f"a track of {len(samples) / rate:.2f} s for {body}")
        known = self._known.setdefault((made["backend"], body["duration_seconds"], with_twin), samples)
        if known.shape != samples.shape or np.abs(known - samples).max() > MAX_DIFFERENCE:
            raise ValueError(f"another track than before for {body}")
        return "200"

    def _go_away(self, client: httpx.Client, source: random.Random) -> str:
        body = {"prompt": "long", "duration_seconds": 5, "lora_id": f"p{source.randrange(TWINS)}:twin"}
        try:
            httpx.post(f"{self.server.url}/generate", json=body, timeout=0.3, trust_env=False)
        except httpx.TimeoutException:
            return "went away"
        return "answered before"

    def _new_upload(self, client: httpx.Client, source: random.Random) -> str:
        answer = self._upload(client, f"p{source.randrange(TWINS)}", source.randrange(1, 4))
        return "200" if answer.status_code == 200 else named(answer)

    def _train(self, client: httpx.Client, source: random.Random) -> str:
        waiting = client.get("/jobs", params={"state": "queued"})
        if waiting.status_code == 200 and len(waiting.json()["jobs"]) >= MAX_QUEUED:
            return "enough wait already"
        body = {"producer_id": "soak", "upload_paths": [self.upload], "model_name": "again", "max_steps": 2}
        answer = client.post("/train/submit", json=body)
        if answer.status_code != 200:
            return named(answer)
        self.jobs.append(answer.json()["job_id"])
        return "200"

    def _cancel(self, client: httpx.Client, source: random.Random) -> str:
        if not self.jobs:
            return "none yet"
        answer = client.post(f"/jobs/{source.choice(self.jobs)}/cancel")
        return "200" if answer.status_code == 200 else named(answer)

    def _look(self, client: httpx.Client, source: random.Random) -> str:
        path = source.choice(["/loras", "/jobs", "/backends", "/loras/p1:twin", "/datasets/soak", "/loras/no:body"])
        answer = client.get(path)
        return "200" if answer.status_code == 200 else named(answer)

    def _upload(self, client: httpx.Client, producer: str, seconds: int) -> httpx.Response:
        file = io.BytesIO()
        song = sample_song(np.random.default_rng(seconds), "house")
        soundfile.write(file, render(song, seconds, 16_000, 1).T, 16_000, format="FLAC")
        content = base64.b64encode(file.getvalue()).decode()
        return client.post("/store-upload", json={"producer_id": producer, "content_base64": content})

    # Faults

    def _processes(self, word: str) -> list[psutil.Process]:
        found = []
        for process in psutil.Process(self.server.process.pid).children(recursive=True):
            try:
                if word in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def _kill(self, word: str) -> str:
        victims = self._processes(word)
        for victim in victims[:1]:
            victim.send_signal(signal.SIGKILL)
        return f"{word} killed" if victims else f"{word} was not there"

    def _kill_runner(self) -> str:
        return self._kill(self.random.choice(["AceStepRunner", "MusicGenRunner"]))

    def _kill_training(self) -> str:
        victims = trainings(psutil.Process(self.server.process.pid))
        for victim in victims[:1]:
            victim.send_signal(signal.SIGKILL)
        return "a training killed" if victims else "no training was there"

    def _kill_trainer(self) -> str:
        return self._kill("--service-name Training")

    def _stop_runner(self) -> str:
        for process in self._processes("AceStepRunner")[:1]:
            process.send_signal(signal.SIGSTOP)
            time.sleep(10)
            process.send_signal(signal.SIGCONT)
        return "AceStepRunner stood still"

    # Checks afterwards

    def _settle(self) -> None:
        """Check that every backend is ready and serves, and that every job has ended with a result or a reason."""
        news, since = None, time.monotonic()
        with self.client() as client:
            while time.monotonic() - since < MAX_IDLE_SECONDS:
                ready = [row["ready"] for row in client.get("/backends").json()["backends"]]
                records = [client.get(f"/jobs/{job}").json() for job in self.jobs]
                open_jobs = [record for record in records if record["state"] not in TERMINAL]
                if all(ready) and not open_jobs:
                    break
                latest = (ready, [(record["state"], record["step"], record["previews"]) for record in records])
                if latest != news:
                    news, since = latest, time.monotonic()
                time.sleep(2)
            if not all(ready):
                self.wrong.append("a backend did not become ready again")
            self.wrong += [f"job {record['job_id']} is {record['state']}: it does not end" for record in open_jobs]
            for body, with_twin in (
                ({"backend_override": "ace_step"}, False),
                ({"backend_override": "musicgen"}, False),
                ({"lora_id": "p0:twin"}, True),
            ):
                asked = {"prompt": "dark trap", "duration_seconds": 2, "seed": 5} | body
                if (outcome := self._ask_for(client, asked, with_twin)) != "200":
                    self.wrong.append(f"{body} afterwards: {outcome}")
            for record in records:
                job = record["job_id"]
                self.answers[f"job: {record['state']}"] += 1
                if record["state"] == "failed" and not record["error"]:
                    self.wrong.append(f"job {job} failed without a reason")
                if record["state"] == "done" and record["result"] is None:
                    self.wrong.append(f"job {job} is done without a result")

    def _memory(self) -> int:
        jobs = trainings(psutil.Process(self.server.process.pid))
        found = [psutil.Process(self.server.process.pid), *self._processes("")]
        total = 0
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += 0 if process in jobs else process.memory_info().rss
        return total

    def _walk(self) -> None:
        """Check that every object in storage has an owner."""
        jobs = Jobs(self.storage)
        known = {record.job_id for record in jobs.all()}
        still_open = {record.job_id for record in jobs.open()}  # the marks of those that have ended go with it
        twins = {entry.key.removeprefix("loras/") for entry in self.storage.list("loras/")}
        counted: Counter[str] = Counter()
        for entry in self.storage.list(""):
            kind, owner, *_ = *entry.key.split("/"), ""
            counted[kind] += 1
            if kind not in KINDS:
                self.wrong.append(f"{entry.key} is of no known kind")
            orphaned = {
                "job_data": owner not in known,
                "job_runs": owner not in known,
                "open_jobs": owner not in still_open,
                "tasks": kind == "tasks" and self.storage.get(entry.key).decode() not in known,
                "lora_owners": f"{owner}.safetensors" not in twins,
            }
            if orphaned.get(kind):
                self.wrong.append(f"{entry.key} has no owner")
        print("stored:", ", ".join(f"{count} {kind}" for kind, count in sorted(counted.items())))


def named(answer: httpx.Response) -> str:
    """The status and first words of an expected error. Raises ValueError for another answer."""
    document = answer.json()
    if answer.status_code not in EXPECTED_ERRORS or list(document) != ["error"]:
        raise ValueError(f"{answer.status_code} {answer.text[:200]}")
    error = re.sub(r"[0-9a-f-]{36}", "…", document["error"])
    return f"{answer.status_code} {' '.join(error.split()[:6])}"


def raised(log: str) -> Counter[str]:
    """The last line of each traceback in the log, with its count."""
    found: Counter[str] = Counter()
    for part in log.split("Traceback (most recent call last):\n")[1:]:
        last = next((line for line in part.splitlines() if line and not line.startswith(" ")), "")
        found[last[:120]] += 1
    return found


def run(minutes: float, seed: int) -> int:
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        with serving(folder, tiny_checkpoints(folder)) as server:
            soak = Soak(server, open_storage((folder / "data").resolve().as_uri()), seed)
            soak.prepare()
            soak.run(minutes)
        tracebacks = raised(server.log.read_text(errors="replace"))
        if soak.wrong:
            kept = Path(tempfile.gettempdir(), f"soak-{os.getpid()}.log")
            shutil.copy(server.log, kept)
            print(f"the server's log: {kept}")
    for outcome, count in sorted(soak.answers.items()):
        print(f"{count:6}  {outcome}")
    print(f"{tracebacks.total()} tracebacks in the log")
    for last, count in tracebacks.most_common():
        print(f"{count:6}  {last}")
    for finding in dict.fromkeys(soak.wrong):
        print("WRONG:", finding)
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(run(given.minutes, given.seed))
