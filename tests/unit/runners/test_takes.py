"""Takes of one request: one batch, one condition, and each as if it were alone."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from contract import SamplingOptions
from core.errors import Refusal
from models.ace_step import AceStep
from models.base import Model, Row, Text, Track
from models.checkpoints import resolve
from models.musicgen import MusicGen
from models.tiny import ace_step as tiny_ace_step
from models.tiny import musicgen as tiny_musicgen
from runners.scheduler import Scheduler
from runners.worker import MAX_TRACKS, Worker

TAKES = 8
BUILD: dict[type[Model], Callable[[Path], None]] = {AceStep: tiny_ace_step.build, MusicGen: tiny_musicgen.build}


@pytest.fixture(scope="module", params=list(BUILD), ids=lambda kind: kind.backend)
def model(request: pytest.FixtureRequest) -> Model:
    kind: type[Model] = request.param
    checkpoint = resolve("starter", kind.backend, BUILD[kind])
    return kind.load(checkpoint, torch.device("cpu"), torch.float32)


def row(seed: int) -> Row:
    return Row(Text("dark trap", bpm=140), 0.5, SamplingOptions(seed=seed, steps=2))


def played(model: Model, rows: Sequence[Row], seen: list[int] | None = None) -> list[Track]:
    scheduler = Scheduler(model)
    run_slice = scheduler.run_slice

    def counted() -> object:
        done = run_slice()
        if seen is not None:
            seen.append(scheduler.rows)
        return done

    scheduler.run_slice = counted  # type: ignore[method-assign,assignment]
    return asyncio.run(Worker(scheduler).tracks(rows))


@pytest.mark.slow
def test_takes_are_one_batch_with_one_condition(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is encoded once, all rows take each step together, and each take is its seed's alone, to the bit
    whatever the other rows are."""
    encoded: list[object] = []
    module = "models.ace_step.conditions" if isinstance(model, AceStep) else "models.musicgen.model"
    encode = importlib.import_module(module).encode

    def counted(*of: object, **options: object) -> object:
        encoded.append(of)
        return encode(*of, **options)

    monkeypatch.setattr(f"{module}.encode", counted)
    first = 2**32 - 2  # the seeds go on with 0
    seen: list[int] = []
    takes = played(model, row(first).takes(TAKES), seen)
    assert len(encoded) == 1
    steps = [rows for rows in seen if rows > 1]
    assert steps and set(steps) == {TAKES}
    seeds = [(first + number) % 2**32 for number in range(TAKES)]
    for kept in (0, 1):
        # In a batch of the same size: where MKL has no reproducible kernels, the last bits depend on how many rows.
        others = played(model, [row(seed if n % 2 == kept else 500 + n) for n, seed in enumerate(seeds)])
        for take, other in list(zip(takes, others, strict=True))[kept::2]:
            assert isinstance(take, np.ndarray) and isinstance(other, np.ndarray)
            assert np.array_equal(take, other)
    for take, seed in zip(takes, seeds, strict=True):
        (alone,) = played(model, [row(seed)])
        assert isinstance(take, np.ndarray) and isinstance(alone, np.ndarray)
        assert np.allclose(take, alone, atol=1e-5)
    assert not np.array_equal(np.asarray(takes[0]), np.asarray(takes[1]))


def test_all_takes_are_admitted_or_none(model: Model) -> None:
    with pytest.raises(Refusal, match="being served already"):
        played(model, row(1).takes(MAX_TRACKS + 1))
