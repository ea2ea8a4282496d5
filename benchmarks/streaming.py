"""How soon the first second of a streamed track of 30 s is there: through the server, on the starters."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from benchmarks.measure import Figure, summarised
from scripts.serving import serving

SECONDS, PATIENCE = 30.0, 600.0
TARGETS = {"musicgen": "≤ 0.15", "ace_step": ""}
_HEADER_BYTES = 1_000  # more than a WAV file has before its samples


def measure(rounds: int) -> Iterator[Figure]:
    with (
        TemporaryDirectory() as folder,
        serving(Path(folder), {}) as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as client,
    ):
        _wait_until_ready(client)
        for backend, target in TARGETS.items():
            heard = [_first_second(client, backend, number) for number in range(rounds + 1)]
            name = f"{backend}: the first second of a streamed track of {SECONDS:g} s"
            yield summarised(f"{name} / the whole", target, [first / whole for first, whole in heard[1:]])
            yield summarised(f"{name}, in s", "", [first for first, _ in heard[1:]])


def _first_second(client: httpx.Client, backend: str, seed: int) -> tuple[float, float]:
    """Seconds until the first second of sound, and the whole of it, has arrived."""
    body = {
        "prompt": "lofi hip hop beat, 90 bpm",
        "backend_override": backend,
        "duration_seconds": SECONDS,
        "seed": seed,
        "stream": True,
    }
    start, received, first = time.perf_counter(), 0, 0.0
    with client.stream("POST", "/generate", json=body, headers={"accept": "audio/wav"}) as answer:
        answer.raise_for_status()
        rows = {row["name"]: row for row in client.get("/backends").json()["backends"]}
        second = _HEADER_BYTES + 2 * rows[backend]["sample_rate"] * rows[backend]["channels"]
        for chunk in answer.iter_raw():
            received += len(chunk)
            if not first and received >= second:
                first = time.perf_counter() - start
    return first, time.perf_counter() - start


def _wait_until_ready(client: httpx.Client) -> None:
    end = time.monotonic() + PATIENCE
    while not all(row["ready"] for row in client.get("/backends").json()["backends"]):
        if time.monotonic() > end:
            raise TimeoutError("the backends are not ready")
        time.sleep(0.5)
