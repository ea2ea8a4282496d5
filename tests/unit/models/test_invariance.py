"""A row is the same alone and in any batch, whichever rows share it and whenever they join."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.adapter_file import Header
from adapters.delta_weights import DoraDelta, LoraDelta
from adapters.weights import AdapterWeights, LoraPair, linear_layers
from contract import SamplingOptions
from models.ace_step import AceStep
from models.base import Model, Row, Text, Track
from models.checkpoints import resolve
from models.musicgen import MusicGen
from models.tiny import ace_step, musicgen
from runners.scheduler import Scheduler, Ticket

pytestmark = pytest.mark.slow

ONE_STEP = 1 / 32768
KINDS: dict[str, tuple[type[Model[Any]], Any, tuple[str, ...]]] = {
    "ace_step": (AceStep, ace_step.build, ("to_q", "to_v", "down_proj", "linear_1", "condition_embedder")),
    "musicgen": (MusicGen, musicgen.build, ("q_proj", "v_proj", "fc2", "lm_heads.1")),
}


def _twin(model: Model[Any], rank: int, seed: int, targets: tuple[str, ...], dora: bool = False) -> AdapterWeights:
    generator = torch.Generator().manual_seed(seed)
    pairs, changes = {}, {}
    for name, layer in linear_layers(model.adapted).items():
        if name.endswith(targets):
            a = torch.randn(layer.in_features, rank, generator=generator) / layer.in_features**0.5
            b = torch.randn(rank, layer.out_features, generator=generator) / rank**0.5
            if dora and name.endswith(targets[:2]):
                changes[name] = DoraDelta(LoraDelta(b.T, a.T), layer.weight.norm(dim=1, keepdim=True) * 1.3)
            else:
                pairs[name] = LoraPair(a, b)
    digest = f"{rank}-{seed}-{dora}"
    header = Header("p", "m", model.backend, "starter", "0", rank, "job", "2026-01-01T00:00:00+00:00", digest)
    return AdapterWeights(header, pairs, changes)


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> tuple[Model[Any], list[AdapterWeights]]:
    model_class, build, targets = KINDS[request.param]
    checkpoint = resolve("starter", f"{request.param}_test", build)
    model = model_class.load(checkpoint, torch.device("cpu"), torch.float32)
    twins = [
        _twin(model, 4, 1, targets),
        _twin(model, 24, 2, targets[1:]),
        _twin(model, 80, 3, targets[:1]),
        _twin(model, 4, 4, targets, dora=True),
    ]
    return model, twins


@st.composite
def _rows(draw: st.DrawFn, twins: list[AdapterWeights]) -> Row:
    blend = draw(st.lists(st.tuples(st.sampled_from(twins), st.sampled_from([1.0, 0.5, -0.3])), max_size=2))
    return Row(
        Text(draw(st.sampled_from(["x", "dark trap", "warm keys " * 9])), bpm=draw(st.sampled_from([None, 90]))),
        draw(st.sampled_from([0.04, 0.3, 0.77, 1.3])),
        SamplingOptions(
            seed=draw(st.integers(0, 3)),
            steps=draw(st.integers(1, 3)),
            guidance=draw(st.sampled_from([None, 1.0, 4.0])),
            shift=draw(st.sampled_from([None, 1.0])),
            temperature=draw(st.sampled_from([None, 0.0, 1.4])),
        ),
        adapters=blend,
    )


def _same(one: Track, other: Track) -> bool:
    assert isinstance(one, np.ndarray) and isinstance(other, np.ndarray), (one, other)
    return one.shape == other.shape and float(np.abs(one - other).max(initial=0)) <= ONE_STEP


def _for_all(kind: tuple[Model[Any], list[AdapterWeights]], most: int, check: Callable[..., None]) -> None:
    rows = st.lists(_rows(kind[1]), min_size=2, max_size=most)
    settings(max_examples=5, deadline=None)(given(rows=rows, data=st.data())(check))()


def test_an_order_changes_nothing(kind: tuple[Model[Any], list[AdapterWeights]]) -> None:
    def check(rows: list[Row], data: st.DataObject) -> None:
        order = data.draw(st.permutations(range(len(rows))))
        plain = kind[0].generate(rows)
        turned = kind[0].generate([rows[index] for index in order])
        assert all(_same(plain[index], track) for index, track in zip(order, turned, strict=True))

    _for_all(kind, 5, check)


def test_a_neighbour_changes_nothing(kind: tuple[Model[Any], list[AdapterWeights]]) -> None:
    def check(rows: list[Row], data: st.DataObject) -> None:
        other = data.draw(_rows(kind[1]))
        before, after = kind[0].generate(rows), kind[0].generate([*rows[:-1], other])
        assert all(_same(one, two) for one, two in zip(before[:-1], after[:-1], strict=True))

    _for_all(kind, 4, check)


def test_splitting_a_batch_changes_nothing(kind: tuple[Model[Any], list[AdapterWeights]]) -> None:
    def check(rows: list[Row], data: st.DataObject) -> None:
        cut = data.draw(st.integers(1, len(rows) - 1))
        whole, parts = kind[0].generate(rows), kind[0].generate(rows[:cut]) + kind[0].generate(rows[cut:])
        assert all(_same(one, two) for one, two in zip(whole, parts, strict=True))

    _for_all(kind, 5, check)


def test_when_others_come_changes_nothing(
    kind: tuple[Model[Any], list[AdapterWeights]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Served by the scheduler, on a device that one row fills or one that has room for all."""
    model = kind[0]

    def check(rows: list[Row], data: st.DataObject) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(type(model), "overhead", data.draw(st.sampled_from([0.0, 1e6])))
            scheduler, tickets = Scheduler(model), []
            tracks: dict[Ticket, Track] = {}
            for row in rows:
                tickets.append(scheduler.add(row))
                for _ in range(data.draw(st.integers(0, 40))):
                    tracks |= dict(scheduler.run_slice())
            while scheduler.tickets:
                tracks |= dict(scheduler.run_slice())
        alone = [model.generate([row])[0] for row in rows]
        assert all(_same(tracks[ticket], track) for ticket, track in zip(tickets, alone, strict=True))

    _for_all(kind, 4, check)


def test_a_batch_that_does_not_fit_changes_nothing(
    kind: tuple[Model[Any], list[AdapterWeights]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory runs out in the middle of a step: the halves go on to the same music, and what never fits fails alone."""
    model, twins = kind
    rows = [
        Row(Text("x"), 0.5, SamplingOptions(seed=seed, steps=3), adapters=[(twins[seed % 2], 1.0)]) for seed in range(4)
    ]
    alone = [model.generate([row])[0] for row in rows]
    monkeypatch.setattr(type(model), "overhead", 1e6)
    norms = ("mlp_norm", "final_layer_norm")
    layer = [each for name, each in model.adapted.named_modules() if name.endswith(norms)][-1]
    most, refused = 0, 0

    def tokens(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        nonlocal most, refused
        count = given[0].shape[:-1].numel()
        if limit and count > limit:
            refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        most = max(most, count)

    with layer.register_forward_pre_hook(tokens):
        limit = 0
        model.generate(rows)
        limit = most - 1
        scheduler = Scheduler(model)
        tickets = [scheduler.add(row) for row in rows]
        tracks: dict[Ticket, Track] = {}
        while scheduler.tickets:
            tracks |= dict(scheduler.run_slice())
        assert refused and all(_same(tracks[each], track) for each, track in zip(tickets, alone, strict=True))
        limit = 1
        ticket = scheduler.add(rows[0])
        while ticket in scheduler.tickets:
            tracks |= dict(scheduler.run_slice())
        assert isinstance(tracks[ticket], torch.OutOfMemoryError)


def test_audio_stays_within_its_row(kind: tuple[Model[Any], list[AdapterWeights]]) -> None:
    """What the properties above compare is music, and not the same for all."""
    model, twins = kind
    plain, seeded, *tuned = model.generate(
        [Row(Text("x"), 0.5, SamplingOptions(seed=1)), Row(Text("x"), 0.5, SamplingOptions(seed=2))]
        + [Row(Text("x"), 0.5, SamplingOptions(seed=1), adapters=[(twin, 1.0)]) for twin in twins]
    )
    assert isinstance(plain, np.ndarray)
    for other in (seeded, *tuned):
        assert isinstance(other, np.ndarray) and np.abs(other - plain).max() > 0.01
