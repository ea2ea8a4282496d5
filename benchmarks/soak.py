"""Half an hour of everything at once, with something broken every minute, and a look at what is left.

    python -m benchmarks.soak --minutes 30

Starts a server of its own on tiny checkpoints, trains a twin, makes 50 of it, and then asks for tracks (with twins and
without, on both backends), uploads, trains, lists, and goes away in the middle. Meanwhile a runner, a training process
or the training service is killed, or a runner stands still for some seconds. It ends with 1 and says why if an answer
was neither right nor a named error, a job ended in no true state, the service did not become whole again, its memory
grew after warm-up, or storage holds something that belongs to nothing.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import random
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

from models.adapter_file import header_length, seal
from models.starter.synthesiser import render, sample_song
from runners import TABLE
from scripts.serving import Server, serving
from storage import Storage, keys, open_storage
from training.jobs import Jobs

TWINS = 50
CLIENTS = 6
# Trainings that may wait for their turn: more would not end in time on a slow machine.
QUEUED = 3
FAULT_SECONDS = 60.0
# Of what was resident after warm-up; allocators keep some, a leak grows with the time.
GROWTH = 1.25
# What may be answered while something is broken, or because it was asked for what is not there any more.
NAMED = {404, 409, 429, 499, 500, 503, 504}
KINDS = {
    *("uploads", "datasets", "training_data", "training_turns", "jobs", "tasks", "job_data", "job_runs", "loras"),
    *("lora_owners", "lora_turns", "lora_versions", "models", "outputs", "tag_cache", "api_keys"),
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

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.server.url, timeout=300, trust_env=False)

    def prepare(self) -> None:
        """A beat, a twin of it, and fifty."""
        with self.client() as client:
            self.upload = self._upload(client, "soak", 4)
            body = {"producer_id": "soak", "upload_paths": [self.upload], "model_name": "first", "max_steps": 2}
            made = client.post("/train", json=body, timeout=1200)
            made.raise_for_status()
        first = self.storage.get(keys.lora("soak", "first"))
        for number in range(TWINS):
            producer, model = f"p{number}", "twin"
            self.storage.put(keys.lora(producer, model), renamed(first, producer, model))
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
        if warm and grown > GROWTH * warm:
            self.wrong.append(f"memory grew from {warm >> 20} to {grown >> 20} MiB after warm-up")
        print(f"memory: {warm >> 20} MiB after warm-up, {grown >> 20} MiB at the end")
        self._walk()

    # The load.

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
                except httpx.TransportError as error:
                    outcome = f"no answer ({type(error).__name__})"
                except Exception as error:  # noqa: BLE001 - it is a finding
                    outcome = "wrong"
                    self.wrong.append(f"{call.__name__}: {type(error).__name__}: {str(error)[:300]}")
                self.answers[f"{call.__name__[1:]}: {outcome}"] += 1

    def _track(self, client: httpx.Client, source: random.Random) -> str:
        body: dict[str, Any] = {"prompt": "dark trap", "duration_seconds": source.choice([1, 2, 3]), "seed": 5}
        kind = source.randrange(3)
        if kind == 0:
            body["backend_override"] = source.choice(["ace_step", "musicgen"])
        elif kind == 1:
            body["lora_id"] = f"p{source.randrange(TWINS)}:twin"
        answer = client.post("/generate", json=body)
        if answer.status_code != 200:
            return named(answer)
        made = answer.json()
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(made["audio_base64"])))
        if abs(len(samples) / rate - body["duration_seconds"]) > 0.2 or not np.isfinite(samples).all():
            raise ValueError(f"a track of {len(samples) / rate:.2f} s for {body}")
        return "200"

    def _go_away(self, client: httpx.Client, source: random.Random) -> str:
        body = {"prompt": "long", "duration_seconds": 5, "lora_id": f"p{source.randrange(TWINS)}:twin"}
        try:
            httpx.post(f"{self.server.url}/generate", json=body, timeout=0.3, trust_env=False)
        except httpx.TimeoutException:
            return "went away"
        return "answered before"

    def _new_upload(self, client: httpx.Client, source: random.Random) -> str:
        self._upload(client, f"p{source.randrange(TWINS)}", source.randrange(1, 4))
        return "200"

    def _train(self, client: httpx.Client, source: random.Random) -> str:
        waiting = client.get("/jobs", params={"state": "queued"})
        if waiting.status_code == 200 and len(waiting.json()["jobs"]) >= QUEUED:
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

    def _upload(self, client: httpx.Client, producer: str, seconds: int) -> str:
        file = io.BytesIO()
        song = sample_song(np.random.default_rng(seconds), "house")
        soundfile.write(file, render(song, seconds, 16_000, 1).T, 16_000, format="FLAC")
        content = base64.b64encode(file.getvalue()).decode()
        answer = client.post("/store-upload", json={"producer_id": producer, "content_base64": content})
        answer.raise_for_status()
        path: str = answer.json()["path"]
        return path

    # The faults.

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
        return self._kill("training.run")

    def _kill_trainer(self) -> str:
        return self._kill("--service-name Training")

    def _stop_runner(self) -> str:
        for process in self._processes("AceStepRunner")[:1]:
            process.send_signal(signal.SIGSTOP)
            time.sleep(10)
            process.send_signal(signal.SIGCONT)
        return "AceStepRunner stood still"

    # What is left.

    def _settle(self) -> None:
        """The service is whole again, and every job has ended."""
        end = time.monotonic() + 600
        with self.client() as client:
            waiting = dict.fromkeys(self.jobs)
            while time.monotonic() < end:
                try:
                    ready = all(row["ready"] for row in client.get("/backends").json()["backends"])
                    for job in list(waiting):
                        if client.get(f"/jobs/{job}").json()["state"] in ("done", "failed", "cancelled"):
                            del waiting[job]
                except httpx.TransportError:
                    ready = False
                if ready and not waiting:
                    break
                time.sleep(2)
            if not ready:
                self.wrong.append("the service did not become whole again")
            self.wrong += [f"job {job} has not ended" for job in waiting]
            for job in self.jobs:
                record = client.get(f"/jobs/{job}").json()
                self.answers[f"job: {record['state']}"] += 1
                if record["state"] == "failed" and not record["error"]:
                    self.wrong.append(f"job {job} failed without a reason")
                if record["state"] == "done" and record["result"] is None:
                    self.wrong.append(f"job {job} is done without a result")

    def _memory(self) -> int:
        found = [psutil.Process(self.server.process.pid), *self._processes("")]
        return sum(process.memory_info().rss for process in found if "training.run" not in " ".join(process.cmdline()))

    def _walk(self) -> None:
        """Nothing in storage belongs to nothing."""
        known = {record.job_id for record in Jobs(self.storage).all()}
        counted: Counter[str] = Counter()
        for entry in self.storage.list(""):
            kind, owner, *_ = *entry.key.split("/"), ""
            counted[kind] += 1
            if kind not in KINDS:
                self.wrong.append(f"what is {entry.key}?")
            if kind in ("job_data", "job_runs") and owner not in known:
                self.wrong.append(f"{entry.key} is of no job")
        print("stored:", ", ".join(f"{count} {kind}" for kind, count in sorted(counted.items())))


def named(answer: httpx.Response) -> str:
    """The status of an error that may be answered. Raises ValueError for another."""
    document = answer.json()
    if answer.status_code not in NAMED or list(document) != ["error"]:
        raise ValueError(f"{answer.status_code} {answer.text[:200]}")
    return f"{answer.status_code} {' '.join(document['error'].split()[:6])}"


def renamed(adapter: bytes, producer: str, model: str) -> bytes:
    """The same adapter as another producer's."""
    length = header_length(adapter)
    table = json.loads(adapter[8 : 8 + length])
    table["__metadata__"] |= {"producer_id": producer, "model_name": model}
    header = json.dumps(table, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return seal(len(header).to_bytes(8, "little") + header + adapter[8 + length :])


def run(minutes: float, seed: int) -> int:
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        tiny = {}
        for row in TABLE:
            row.load_tiny()(folder / row.name)
            tiny[row.checkpoint.upper()] = str(folder / row.name)
        with serving(folder, tiny) as server:
            soak = Soak(server, open_storage((folder / "data").resolve().as_uri()), seed)
            soak.prepare()
            soak.run(minutes)
        tracebacks = server.log.read_text(errors="replace").count("Traceback (most recent call last)")
    for outcome, count in sorted(soak.answers.items()):
        print(f"{count:6}  {outcome}")
    print(f"{tracebacks} tracebacks in the log")
    for finding in dict.fromkeys(soak.wrong):
        print("WRONG:", finding)
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(run(given.minutes, given.seed))
