"""Attackers beside honest clients, who must not notice them.

    python -m tests.stress.hostile --minutes 10

Starts a server of its own on tiny checkpoints, with API keys for a producer, an artist and four of the eight attackers.
The honest clients are timed alone, then beside the attackers, who send the attacks of tests/stress/attacks.py in random
order. Prints medians, 95th percentiles, the longest times, and the front's memory before and after each attack sent
alone.

Ends with 1 if an honest request failed, the median of a kind of request is over three times that without attackers (and
over the longest then), the front took over 600 MiB, or a probe did not answer 200.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import httpx
import psutil

from api.auth.keys import create
from contract import TERMINAL
from scripts.serving import Server, serving, tiny_checkpoints
from storage import open_storage
from tests.api import Api, as_base64, beat, wait_until_ready
from tests.stress.attacks import ATTACKS, Target

ATTACKERS = 8
MAX_SLOWDOWN = 3.0
MAX_FRONT_BYTES = 600 * 2**20
GENERATE_SECONDS = 5.0
UPLOAD_SECONDS = 3.0
PATIENCE = 120.0


class Honest:
    """Honest clients, and the seconds that each kind of their requests took."""

    def __init__(self, server: Server, producer_key: str, artist_key: str) -> None:
        self.server = server
        self.keys = {"producer": producer_key, "artist": artist_key}
        self.took: dict[str, list[float]] = defaultdict(list)
        self.failed: list[str] = []
        self._song = beat(6)

    def run(self, seconds: float) -> None:
        """Run the producer and the artist at once for so many seconds."""
        end = time.monotonic() + seconds
        ways = (self._upload, self._train, self._make_tracks, self._watch)
        clients = [threading.Thread(target=each, args=(end,)) for each in ways]
        for client in clients:
            client.start()
        for client in clients:
            client.join()

    def _client(self, who: str | None) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.keys[who]}"} if who else {}
        return httpx.Client(base_url=self.server.url, timeout=PATIENCE, trust_env=False, headers=headers)

    def _upload(self, end: float) -> None:
        """Upload a song and look at its tempo."""
        with self._client("producer") as client:
            for number in paced(UPLOAD_SECONDS, end):
                body = {"producer_id": "ada", "filename": f"{number}.wav", "content_base64": as_base64(self._song)}
                answer = self._time("upload", client.post, "/store-upload", json=body)
                if answer is not None:
                    path = answer.json()["path"]
                    self._time("analysis", client.get, "/uploads/analysis", params={"path": path})

    def _train(self, end: float) -> None:
        """Train a twin, and ask for its progress until it has ended."""
        with self._client("producer") as client:
            path = self._stored(client)
            for _ in paced(0, end):
                request = {"producer_id": "ada", "upload_paths": [path], "model_name": "night", "max_steps": 2}
                submitted = self._time("submit", client.post, "/train/submit", json=request)
                job = submitted.json()["job_id"] if submitted else ""
                state = ""
                while job and state not in TERMINAL:
                    time.sleep(1)
                    record = self._time("job", client.get, f"/jobs/{job}")
                    state = record.json()["state"] if record else state
                if job and state != "done":
                    self.failed.append(f"job {job} is {state}")

    def _stored(self, client: httpx.Client) -> str:
        answer = client.post("/store-upload", json={"producer_id": "ada", "content_base64": as_base64(self._song)})
        path: str = answer.raise_for_status().json()["path"]
        return path

    def _make_tracks(self, end: float) -> None:
        with self._client("artist") as client:
            for _ in paced(GENERATE_SECONDS, end):
                body = {"prompt": "dark trap", "duration_seconds": 2, "response": "url"}
                self._time("generate", client.post, "/generate", json=body)

    def _watch(self, end: float) -> None:
        """Ask the probes as an orchestrator does. Honest clients are served all the time, so both must answer 200."""
        with self._client(None) as client:
            for _ in paced(1, end):
                for path in ("/livez", "/readyz"):
                    self._time(path, client.get, path)

    def _time(self, kind: str, ask: Callable[..., httpx.Response], path: str, **more: Any) -> httpx.Response | None:
        start = time.monotonic()
        try:
            answer = ask(path, **more)
        except httpx.HTTPError as error:
            self.failed.append(f"{kind}: {error!r}")
            return None
        self.took[kind].append(time.monotonic() - start)
        if answer.status_code != 200:
            self.failed.append(f"{kind}: {answer.status_code} {answer.text[:200]}")
            return None
        return answer


def paced(every: float, end: float) -> Iterator[int]:
    """Count from 1, a number every `every` seconds, until the time `end`."""
    number = 0
    while (begun := time.monotonic()) < end:
        number += 1
        yield number
        time.sleep(max(0.0, every - (time.monotonic() - begun)))


def memory_of(front: psutil.Process) -> int:
    """The resident memory of the front's process in bytes."""
    return front.memory_info().rss


def attack(target: Target, seed: int, seconds: float, sent: Queue[Counter[str]]) -> None:
    """Attack for so many seconds, in a process of low priority, since real attackers compute on other machines."""
    os.nice(19)
    order, count, end = random.Random(seed), Counter[str](), time.monotonic() + seconds
    while time.monotonic() < end:
        name = order.choice(list(ATTACKS))
        count[name] += 1
        with contextlib.suppress(httpx.HTTPError, OSError):  # refused, or given up
            ATTACKS[name](target, order)
    sent.put(count)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--alone-minutes", type=float, default=3.0, help="how long the honest are timed alone")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        folder = Path(name)
        storage = open_storage((folder / "data").as_uri(), None)
        keys = {who: create(storage, who, ["generate", "train"], [who]) for who in ("ada", "ben", *map(str, range(4)))}
        with serving(folder, tiny_checkpoints(folder)) as server:
            return run(server, folder, keys, arguments)


def run(server: Server, folder: Path, keys: dict[str, str], arguments: argparse.Namespace) -> int:
    headers = {"authorization": f"Bearer {keys['ada']}"}
    with httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False, headers=headers) as client:
        api = Api(server, client, folder / "data")
        wait_until_ready(api)
        front = api.process("ProducerTwin")
    targets = [Target(server.url, keys.get(str(number)), f"{number}") for number in range(ATTACKERS)]
    print("| attack, sent once alone | front before, MiB | after |\n|---|---|---|")
    for name, send in ATTACKS.items():
        before = memory_of(front)
        with contextlib.suppress(httpx.HTTPError, OSError):
            send(targets[0], random.Random(0))
        print(f"| {name} | {before >> 20} | {memory_of(front) >> 20} |", flush=True)

    alone = Honest(server, keys["ada"], keys["ben"])
    alone.run(arguments.alone_minutes * 60)
    beside = Honest(server, keys["ada"], keys["ben"])
    seconds, highest = arguments.minutes * 60, 0
    processes = multiprocessing.get_context("spawn")
    counts: Queue[Counter[str]] = processes.Queue()
    attackers = [
        processes.Process(target=attack, args=(target, arguments.seed + number, seconds, counts), daemon=True)
        for number, target in enumerate(targets)
    ]
    for attacker in attackers:
        attacker.start()
    honest = threading.Thread(target=beside.run, args=(seconds,))
    honest.start()
    while honest.is_alive():
        highest = max(highest, memory_of(front))
        time.sleep(0.2)
    sent = sum((counts.get(timeout=PATIENCE) for _ in attackers), Counter[str]())
    return verdict(alone, beside, highest, sent)


def verdict(alone: Honest, beside: Honest, highest: int, sent: Counter[str]) -> int:
    wrong = [*(f"alone: {each}" for each in alone.failed), *beside.failed]
    print(
        "\n| honest request | alone: median, longest | beside attackers: median, 95 %, longest, number |\n|---|---|---|"
    )
    for kind, before in alone.took.items():
        usual, after = statistics.median(before), beside.took[kind]
        longest = max(after, default=float("inf"))
        half = statistics.median(after or [longest])
        most = statistics.quantiles(after, n=20)[-1] if len(after) > 1 else longest
        print(
            f"| {kind} | {usual * 1000:.0f}, {max(before) * 1000:.0f} ms | "
            f"{half * 1000:.0f}, {most * 1000:.0f}, {longest * 1000:.0f} ms, {len(after)} |"
        )
        if half > max(MAX_SLOWDOWN * usual, max(before)):
            wrong.append(f"{kind}: {half:.2f} s, where {usual:.2f} s is usual")
    print(f"\nthe front's memory: {highest >> 20} MiB at most\nattacks sent: {dict(sent)}")
    if highest > MAX_FRONT_BYTES:
        wrong.append(f"the front took {highest >> 20} MiB")
    for each in wrong[:20]:
        print(f"wrong: {each}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
