"""Storage calls and opened files of a generation with 10,000 stored adapters against 10; memory over 1,000 of them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import torch

from adapters.adapter_file import Header
from adapters.library import Library
from adapters.serialization import encode
from adapters.weights import LoraPair, linear_layers
from benchmarks.measure import Figure
from contract import GenerateRequest
from core.settings import ROOT, settings
from generation.outbox import Outbox
from generation.pipeline import Generation
from models.ace_step import AceStep
from models.checkpoints import resolve
from models.tiny import ace_step as tiny
from runners.clients import Runners
from runners.local import LocalRunners
from storage import Storage, keys, open_storage

STORED = (10, 1_000, 10_000)
GENERATIONS, TWINS, WARM = 1_000, 100, 200
FIGURES = "figures.json"


class _Counting:
    """A storage that counts its calls."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self.calls[name] += 1
        return getattr(self.storage, name)


def measure(rounds: int) -> Iterator[Figure]:
    """Measure in a separate process, with its own storage and model store."""
    with TemporaryDirectory() as folder:
        own = {"STORAGE_URL": (Path(folder) / "data").as_uri(), "BENTOML_HOME": f"{folder}/bentoml"}
        command = [sys.executable, "-m", "benchmarks.footprint", folder]
        subprocess.run(command, cwd=ROOT, env=os.environ | own | {"BENTOML_DO_NOT_TRACK": "True"}, check=True)
        for figure in json.loads((Path(folder) / FIGURES).read_text()):
            yield Figure(**figure)


async def _measured(folder: Path) -> list[Figure]:
    config = settings()
    storage = open_storage(config.storage_url, None)
    counting = _Counting(storage)
    checkpoint = resolve("starter", "ace_step", tiny.build)
    model = AceStep.load(checkpoint, torch.device("cpu"), torch.float32)
    runners = LocalRunners()
    await asyncio.to_thread(runners.__getitem__, "ace_step")
    adapters = runners["ace_step"].runner._adapters
    assert adapters is not None
    adapters.library = Library(counting)  # type: ignore[arg-type]
    outbox = Outbox(counting, config.storage_url, folder / "outbox")  # type: ignore[arg-type]
    generation = Generation(Runners(runners, config), Library(counting), outbox, config)  # type: ignore[arg-type]
    opened: Counter[str] = Counter()
    sys.addaudithook(lambda event, _: opened.update([event]) if event == "open" else None)

    async def made(number: int) -> None:
        request = GenerateRequest(prompt="x", lora_id=f"p:{number}", duration_seconds=0.5, seed=1, steps=1)
        await generation.generate(request, as_base64=False)

    def store(number: int) -> None:
        pairs = {
            name: LoraPair(torch.full((layer.in_features, 1), 0.01 * number), torch.ones(1, layer.out_features))
            for name, layer in linear_layers(model.adapted).items()
            if name.endswith("self_attn.to_q")
        }
        header = Header(
            "p", str(number), "ace_step", "starter", checkpoint.sha256, 1, "j", "2026-01-01T00:00:00+00:00", ""
        )
        storage.put(keys.lora("p", str(number)), encode(header, pairs, model))

    store(0)
    await made(0)  # excludes imports on first use
    stored, costs = 1, []
    for count in STORED:
        for number in range(stored, count):
            store(number)
        stored = count
        counting.calls.clear()
        opened.clear()
        await made(count - 1)  # a twin not used before
        adapters._saver.submit(lambda: None).result()  # waits until the model store has it
        costs.append((counting.calls.total(), opened["open"]))
    process = psutil.Process()
    resident = []
    for number in range(GENERATIONS):
        await made(number % TWINS)
        if number + 1 in (WARM, GENERATIONS):
            resident.append(process.memory_info().rss)
    calls, files = ({cost[part] for cost in costs} for part in (0, 1))
    more = "with 10, 1,000 and 10,000 stored, most / least"
    return [
        Figure(f"storage calls for a generation {more}", "≤ 1", max(calls) / min(calls)),
        Figure(f"files opened for a generation {more}", "≤ 1", max(files) / min(files)),
        Figure("resident memory: 1,000 generations with 100 twins / 200", "≤ 1.02", resident[1] / resident[0]),
    ]


if __name__ == "__main__":
    figures = asyncio.run(_measured(Path(sys.argv[1])))
    (Path(sys.argv[1]) / FIGURES).write_text(json.dumps([asdict(figure) for figure in figures]))
