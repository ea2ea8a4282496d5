"""Merged copies of weights: one for all rows with the same adapters, within the memory for adapters."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from adapters.delta_weights import DoraDelta, LoraDelta
from adapters.merged_weights import MergedWeights, merge
from adapters.weights import AdapterWeights, linear_layers
from contract import SamplingOptions
from models.ace_step import AceStep
from models.base import Row, Text
from runners.scheduler import Scheduler
from runners.worker import Worker
from tests.random_adapters import header

TARGETS = ("to_q", "down_proj")


def _dora(model: AceStep, seed: int) -> AdapterWeights:
    generator = torch.Generator().manual_seed(seed)
    deltas = {
        name: DoraDelta(
            LoraDelta(
                torch.randn(layer.out_features, 2, generator=generator) * 0.1,
                torch.randn(2, layer.in_features, generator=generator) * 0.1,
            ),
            layer.weight.norm(dim=1, keepdim=True) * 1.2,
        )
        for name, layer in linear_layers(model.adapted).items()
        if name.endswith(TARGETS)
    }
    return AdapterWeights(replace(header("ace_step", 2), sha256=f"dora {seed}"), {}, deltas)


def _row(*adapters: AdapterWeights, seed: int = 0, strength: float = 1.0) -> Row:
    return Row(Text("x"), 0.5, SamplingOptions(seed=seed, steps=2), [(each, strength) for each in adapters])


@pytest.fixture
def merged(model: AceStep) -> Iterator[MergedWeights]:
    """The model's copies, with no memory for more than the one that must be."""
    model.merged.limit(0)
    assert model.merged.nbytes == 0
    yield model.merged
    model.merged.limit(0)


def _size(model: AceStep) -> int:
    return sum(layer.weight.nbytes for name, layer in linear_layers(model.adapted).items() if name.endswith(TARGETS))


def test_eight_rows_of_one_adapter_hold_one_copy(model: AceStep, merged: MergedWeights) -> None:
    runs = [model.begin(_row(_dora(model, 1), seed=seed)) for seed in range(8)]
    assert merged.nbytes == _size(model)
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for run in runs
        for stream in run.streams
        for tensor in stream.weights.values()
    }
    assert sum(storages.values()) == _size(model)
    other = model.begin(_row(_dora(model, 1), strength=0.5))
    assert merged.nbytes == 2 * _size(model) and other.streams[0].weights
    del runs, other
    merged.limit(0)
    assert merged.nbytes == 0


def test_what_is_shared_is_what_each_row_would_merge(model: AceStep, merged: MergedWeights) -> None:
    adapters = [(_dora(model, 1), 0.7), (_dora(model, 2), 1.0)]
    alone = merge(model.adapted, adapters)
    shared = merged.get(adapters)
    assert shared.keys() == alone.keys() and all(torch.equal(shared[name], alone[name]) for name in alone)


def test_copies_stay_within_their_memory(model: AceStep, merged: MergedWeights) -> None:
    one, two, three = ([(_dora(model, seed), 1.0)] for seed in (1, 2, 3))
    merged.limit(2 * _size(model))
    for adapters in (one, two, one, three):
        merged.get(adapters)
    assert merged.nbytes == 2 * _size(model)
    held = merged.get(one)  # used after `two`, so that `two` was evicted
    assert merged.nbytes == 2 * _size(model)
    assert merged.has_room(two) and merged.has_room(one)
    also_held = merged.get(three)
    assert not merged.has_room(two) and merged.has_room(one) and merged.has_room([])
    merged.limit(0)
    assert merged.nbytes == 2 * _size(model), "those in use stay"
    del also_held
    merged.limit(0)
    assert merged.nbytes == _size(model) and held
    del held
    assert merged.has_room(two), "one is always allowed"


def test_rows_wait_for_memory_and_are_all_served(model: AceStep, merged: MergedWeights) -> None:
    """Rows of four adapters, with memory for one copy, beside rows that need none."""
    rows = [_row(_dora(model, seed % 4), seed=seed) for seed in range(8)] + [_row(seed=9)]
    alone = [model.generate([row])[0] for row in rows]
    merged.limit(0)
    most: list[int] = []
    begin = model.begin

    async def all_served() -> list[object]:
        worker = Worker(Scheduler(model))
        return list(await asyncio.gather(*[worker.track(row) for row in rows]))

    with pytest.MonkeyPatch.context() as patch:

        def watched(row: Row) -> object:
            run = begin(row)
            most.append(merged.nbytes)
            return run

        patch.setattr(model, "begin", watched)
        tracks = asyncio.run(asyncio.wait_for(all_served(), 120))
    for track, expected in zip(tracks, alone, strict=True):
        assert not isinstance(track, Exception) and not isinstance(expected, Exception)
        assert abs(track - expected).max() <= 1 / 32768  # type: ignore[operator]
    assert max(most) == _size(model)
