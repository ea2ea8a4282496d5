"""Two servers on one bucket: a twin's first generation, against fetching its file plus a warm generation.

    python -m benchmarks.storage [--rounds 8]

Also the time from the end of a job on one server to a track with its twin from the other, and the memory for an upload
of half a gigabyte.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import numpy as np
import soundfile

from adapters.library import Library
from benchmarks.measure import timed
from storage import open_storage
from tests.adapter_files import scaled
from tests.api import Api, beat, checked, peak, running
from tests.s3_server import CREDENTIALS, serve_s3

BODY = {"prompt": "dark trap", "duration_seconds": 10, "seed": 7}


def train(api: Api, name: str) -> datetime:
    """Train a twin; returns when the job ended, by its record."""
    path = api.upload("ada", beat(4, rate=44_100), job_id="clip", filename="clip.wav")
    body = {"producer_id": "ada", "model_name": name, "upload_paths": [path], "max_steps": 1, "rank": 128}
    job = api.ended(api.post("/train/submit", **body)["job_id"])
    assert job["state"] == "done", job
    return datetime.fromisoformat(job["updated_at"])


def upload(api: Api, folder: Path) -> tuple[int, float]:
    """Upload 500 MB; returns the growth of the front's peak memory in bytes, and the seconds."""
    large = folder / "large.wav"
    with soundfile.SoundFile(large, "w", 96_000, 2, subtype="FLOAT") as file:
        block = np.random.default_rng(0).uniform(-0.5, 0.5, (960_000, 2)).astype(np.float32)
        for _ in range(66):
            file.write(block)
    front = api.process("ProducerTwin")
    before = peak(front)
    with large.open("rb") as body:
        took = timed(lambda: checked(api.client.post("/uploads", files={"file": body}, data={"producer_id": "ada"})))
    return peak(front) - before, took


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=8)
    rounds: int = arguments.parse_args().rounds
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        s3 = stack.enter_context(serve_s3())
        cloud = {"STORAGE_URL": s3.url("bench"), "S3_ENDPOINT_URL": s3.endpoint, "ALLOW_NONCOMMERCIAL": "false"}
        here, there = (
            stack.enter_context(running(folder / name, CREDENTIALS | cloud, backends=("ace_step",)))
            for name in ("here", "there")
        )
        os.environ.update(CREDENTIALS)
        storage = open_storage(cloud["STORAGE_URL"], s3.endpoint)

        delays = []
        for number in range(3):
            end = train(here, f"t{number}").timestamp()
            there.post("/generate", **BODY, lora_id=f"ada:t{number}")
            delays.append(time.time() - end)
        twin = Library(storage).find("ada:t0")[0]
        data = Library(storage).read(twin)
        ratios, firsts, fetches, warms = [], [], [], []
        for number in range(rounds):
            # Same size, other content, so that no cache has it.
            name = f"n{number}"
            storage.put(f"loras/ada_{name}.safetensors", scaled(data, 1 + number / 100, model_name=name))
            fetch = timed(lambda name=name: storage.get(f"loras/ada_{name}.safetensors"))  # type: ignore[misc]
            first = timed(lambda name=name: there.post("/generate", **BODY, lora_id=f"ada:{name}"))  # type: ignore[misc]
            warm = timed(lambda name=name: there.post("/generate", **BODY, lora_id=f"ada:{name}"))  # type: ignore[misc]
            firsts.append(first)
            fetches.append(fetch)
            warms.append(warm)
            ratios.append(first / (fetch + warm))
        print(f"adapter of {len(data) / 2**20:.1f} MB, {rounds} rounds, medians")
        print(f"first / (fetch + warm)   {statistics.median(ratios):.3f}  ({min(ratios):.3f}–{max(ratios):.3f})")
        print(
            f"first {statistics.median(firsts):.3f} s, fetch {statistics.median(fetches):.3f} s, "
            f"warm {statistics.median(warms):.3f} s"
        )
        grown, took = upload(here, folder)
        print(f"500 MB through /uploads into S3: {took:.1f} s, {grown / 2**20:.0f} MiB more memory at the peak")
        waits = ", ".join(f"{delay:.2f} s" for delay in delays)
        print(f"job's end on one server → track of {BODY['duration_seconds']} s from the other: {waits}")


if __name__ == "__main__":
    main()
