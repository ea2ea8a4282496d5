"""Calls in the model's thread between the slices of its rows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Sequence

import numpy as np
import pytest
import torch

from adapters.weights import AdapterWeights, LoraPair, linear_layers
from contract import SamplingOptions
from core.errors import Refusal
from models.ace_step import AceStep
from models.adapter_effect import probe
from models.base import Model, Recording, Row, Text, run_to_end
from models.checkpoints import resolve
from models.musicgen import MusicGen
from models.tiny import musicgen as tiny_musicgen
from runners.scheduler import Scheduler
from runners.worker import Worker
from tests.peft_files import (
    HEADER,
)


def test_a_call_and_rows_run_interleaved(model: AceStep) -> None:
    """Rows complete while a call runs, and a call's error is raised to its own caller."""
    ended: list[str] = []

    def slow() -> Generator[None, None, str]:
        while len(ended) < 2:
            time.sleep(0.001)
            yield
        return "done"

    def failing() -> Generator[None, None, str]:
        yield
        raise ValueError("of its own")

    async def both() -> str:
        worker = Worker(Scheduler(model))
        work = asyncio.create_task(worker.run(slow()))
        for number in range(2):
            track = await worker.track(Row(Text("x"), 0.5, SamplingOptions(seed=number, steps=2)))
            assert not isinstance(track, Exception)
            ended.append("row")
        result = await work
        with pytest.raises(ValueError, match="of its own"):
            await worker.run(failing())
        return result

    assert asyncio.run(asyncio.wait_for(both(), 60)) == "done"


def test_a_cancelled_call_ends(model: AceStep) -> None:
    steps: list[int] = []

    def endless() -> Generator[None, None, None]:
        while True:
            steps.append(1)
            time.sleep(0.001)
            yield

    async def leave() -> None:
        worker = Worker(Scheduler(model))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(worker.run(endless()), 0.2)
        await worker.run(model.response(probe([])))
        seen = len(steps)
        await asyncio.sleep(0.1)
        assert len(steps) == seen > 0

    asyncio.run(asyncio.wait_for(leave(), 60))


def test_recordings_have_a_limit_of_memory(model: AceStep, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.zeros((model.channels, model.sample_rate), np.float32)
    row = Row(Text("x"), 1.0, SamplingOptions(seed=1, steps=2), reference=Recording(samples, "silence"))
    assert row.recorded_bytes == samples.nbytes
    monkeypatch.setattr("runners.worker.MAX_RECORDED_BYTES", 2 * samples.nbytes)

    async def ask(worker: Worker) -> Sequence[object]:
        return await asyncio.gather(*(worker.track(row) for _ in range(3)), return_exceptions=True)

    async def twice() -> None:
        worker = Worker(Scheduler(model))
        for _ in range(2):  # the memory is given back
            *made, refused = await ask(worker)
            assert all(isinstance(each, np.ndarray) for each in made)
            assert isinstance(refused, Refusal) and refused.status == 503 and "recordings" in refused.message

    asyncio.run(asyncio.wait_for(twice(), 60))


def musicgen() -> MusicGen:
    checkpoint = resolve("starter", "musicgen_test", tiny_musicgen.build)
    return MusicGen.load(checkpoint, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("backend", ["ace_step", "musicgen"])
def test_the_response_tells_adapters_apart(model: AceStep, backend: str) -> None:
    served: Model = model if backend == "ace_step" else musicgen()
    torch.manual_seed(0)
    pairs = {
        name: LoraPair(torch.randn(layer.in_features, 2) * 0.1, torch.randn(2, layer.out_features) * 0.1)
        for name, layer in linear_layers(served.adapted).items()
        if "layers" in name
    }
    adapter = AdapterWeights(HEADER, pairs)
    plain, again = (run_to_end(served.response(probe([]))) for _ in range(2))
    weak, strong = (run_to_end(served.response(probe([(adapter, strength)]))) for strength in (0.1, 1.0))
    assert torch.equal(plain, again) and plain.ndim >= 2
    assert 0 < (weak - plain).norm() < (strong - plain).norm()
