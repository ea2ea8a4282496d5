"""Requests through the server against in-process generation: eight concurrent ones, and a single one."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from benchmarks import models
from benchmarks.measure import Figure, summarised, timed
from contract import SamplingOptions
from models.ace_step import AceStep
from models.base import Row, Text
from models.checkpoints import Checkpoint
from scripts.serving import serving

REQUESTS, SECONDS, PATIENCE = 8, 5.0, 300.0
LONE = 3  # single requests per round; they are short, so other load on the machine affects them more


def measure(rounds: int) -> Iterator[Figure]:
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "wide"
        models.save_ace_step(checkpoint)
        model = AceStep.load(Checkpoint("wide", checkpoint, "0"), torch.device("cpu"), torch.float32)
        rows = [Row(Text(f"beat {number}"), SECONDS, SamplingOptions(seed=number)) for number in range(REQUESTS)]
        with (
            serving(Path(folder) / "server", {"ACE_STEP_MODEL": str(checkpoint)}) as server,
            httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as client,
            ThreadPoolExecutor(REQUESTS) as pool,
        ):

            def ask(row: Row) -> NDArray[np.int16]:
                body: dict[str, Any] = {
                    "prompt": row.text.prompt,
                    "duration_seconds": row.seconds,
                    "seed": row.options.seed,
                }
                answer = client.post("/generate", json=body, headers={"accept": "audio/wav"}).raise_for_status()
                samples: NDArray[np.int16] = soundfile.read(io.BytesIO(answer.content), dtype="int16")[0]
                return samples

            alone = [ask(row) for row in rows]
            together = list(pool.map(ask, rows))
            off = max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(alone, together, strict=True))
            yield Figure("HTTP: a track alone against among 7 others, in steps of 16 bits", "≤ 1", off)

            eight, lone = [], []
            for number in range(rounds + 1):
                ratio = timed(lambda: list(pool.map(ask, rows))) / timed(lambda: model.generate(rows))
                ratios = [timed(lambda: ask(rows[0])) / timed(lambda: model.generate(rows[:1])) for _ in range(LONE)]
                if number:
                    eight.append(ratio)
                    lone.extend(ratios)
        for name, target, values in (
            ("8 concurrent requests through the server / an in-process batch", "≤ 1.10", eight),
            ("a lone request through the server / in-process", "≤ 1.05", lone),
        ):
            yield summarised(f"HTTP: {name}", target, values)
