"""Layers are compiled as one graph, once for all layers and lengths, and give what they give uncompiled."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from adapters.adapter_file import Header
from adapters.weights import AdapterWeights, LoraPair, linear_layers
from contract import SamplingOptions
from models import compilation
from models.ace_step import AceStep
from models.ace_step.layer import UNCOMPILED, LayerFunctions
from models.base import Row, Text, run_to_end
from models.checkpoints import resolve
from models.musicgen import MusicGen
from models.musicgen.layer import forward
from models.tiny import ace_step, musicgen

pytestmark = pytest.mark.long

CPU = torch.device("cpu")


def _twin(model: Any) -> AdapterWeights:
    torch.manual_seed(0)
    pairs = {
        name: LoraPair(torch.randn(layer.in_features, 4), torch.randn(4, layer.out_features) * 0.1)
        for name, layer in linear_layers(model.adapted).items()
        if name.endswith(("q_proj", "to_q", "down_proj", "fc2"))
    }
    return AdapterWeights(Header("p", "m", model.backend, "s", "0", 4, "j", "2026-01-01T00:00:00+00:00", ""), pairs)


def _steps(model: Any, lengths: list[float], adapters: list[Any]) -> list[torch.Tensor]:
    runs = [
        model.begin(Row(Text("beat"), seconds, SamplingOptions(seed=1, steps=3), adapters=adapters))
        for seconds in lengths
    ]
    batch = model.batch(runs)
    for _ in range(3):
        run_to_end(batch.step())
    return [run.latents if isinstance(model, AceStep) else run.positions for run in runs]


LENGTHS = [[2.0], [3.0], [5.0], [2.0, 3.3], [1.0, 2.0, 3.0], [4.0]]


@pytest.mark.parametrize("kind", ["ace_step", "musicgen"])
def test_one_graph_is_for_all_layers_and_lengths(kind: str) -> None:
    torch._dynamo.reset()
    graphs = CompileCounter()
    model: Any
    plain: Any
    if kind == "ace_step":
        plain, model = (
            AceStep.load(resolve("starter", "ace_step_test", ace_step.build), CPU, torch.float32) for _ in range(2)
        )
        model._functions = LayerFunctions(*[compilation.compile_function(part, graphs) for part in UNCOMPILED])  # type: ignore[arg-type]
    else:
        plain, model = (
            MusicGen.load(resolve("starter", "musicgen_test", musicgen.build), CPU, torch.float32) for _ in range(2)
        )
        model._step_layer = compilation.compile_function(forward, graphs)
    twin = _twin(model)
    for lengths in LENGTHS:
        for adapters in ([], [(twin, 1.0)]):
            ours, expected = _steps(model, lengths, adapters), _steps(plain, lengths, adapters)
            assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(ours, expected, strict=True))
    made = graphs.frame_count
    assert made <= 24
    _steps(model, [6.0], [])
    _steps(model, [2.5, 1.7, 3.1], [(twin, 1.0)])
    assert graphs.frame_count == made, "a new length needs no new graph"


def test_what_does_not_compile_runs_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> Any:
        raise RuntimeError("no compiler")

    call = compilation.compile_function(lambda x: x + 1, broken)
    with caplog.at_level(logging.WARNING):
        assert call(torch.tensor(1)).item() == call(torch.tensor(1)).item() == 2
    assert caplog.text.count("uncompiled") == 1


def test_it_pays_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "has_triton", lambda: True)
    assert [compilation.should_compile(wanted, CPU) for wanted in ("auto", "on", "off")] == [False, True, False]
    gpu = torch.device("cuda")
    assert [compilation.should_compile(wanted, gpu) for wanted in ("auto", "on", "off")] == [True, True, False]
    monkeypatch.setattr(compilation, "has_triton", lambda: False)
    assert not compilation.should_compile("auto", gpu)
