"""Memory modes: int8 weights, and parts that are offloaded."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils import weight_norm

from adapters.merged_weights import merge
from adapters.weights import linear_layers
from benchmarks import operations
from contract import SamplingOptions
from models.ace_step import AceStep
from models.ace_step.checkpoint import offload_parts
from models.base import Model, Row, Text
from models.checkpoints import Checkpoint, resolve
from models.int8_linear import Int8Linear
from models.memory import MemoryMode
from models.musicgen import MusicGen
from models.offloading import offload
from models.tiny import ace_step, musicgen
from models.weight_norms import fold_weight_norms
from tests.random_adapters import random_adapter
from training.ace_step import AceStepTrainer
from training.base import Recipe
from training.loop import session

CPU = torch.device("cpu")
INT8 = MemoryMode(quantization="int8")
TARGETS = ("to_q", "down_proj", "q_proj", "fc2")


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return resolve("starter", "ace_step_test", ace_step.build)


@pytest.fixture(scope="module")
def int8(checkpoint: Checkpoint) -> AceStep:
    return AceStep.load(checkpoint, CPU, torch.float32, INT8)


def _difference(one: Any, other: Any) -> float:
    one, other = (torch.as_tensor(each).double() for each in (one, other))
    return float(((one - other).norm() / other.norm()).detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_computes_with_its_weights_rounded_to_127_steps(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(256, 512, dtype=dtype)
    rounded, x = Int8Linear(layer), torch.randn(3, 256, dtype=dtype)
    step = layer.weight.float().abs().amax(dim=1, keepdim=True) / 127
    # In bfloat16 the scale and the product of scale and code are rounded to a 256th.
    tolerance = 0.51 * step if dtype == torch.float32 else 0.51 * step + layer.weight.abs() / 128
    assert ((rounded.weight - layer.weight).abs() <= tolerance).all()
    assert _difference(rounded(x), layer(x)) < 0.01
    assert _difference(rounded(x), torch.nn.functional.linear(x, rounded.weight, layer.bias)) < 0.005
    assert rounded.codes.dtype == torch.int8 and rounded.scale.dtype == dtype


def test_its_gradient_is_that_of_the_rounded_weights() -> None:
    torch.manual_seed(0)
    layer = Int8Linear(torch.nn.Linear(8, 16))
    x = torch.randn(5, 8, requires_grad=True)
    layer(x).square().sum().backward()
    found, x.grad = x.grad, None
    torch.nn.functional.linear(x, layer.weight, layer.bias).square().sum().backward()
    assert found is not None and x.grad is not None
    torch.testing.assert_close(found, x.grad)


def test_a_weight_of_zeros_stays_zero() -> None:
    layer = torch.nn.Linear(4, 4)
    torch.nn.init.zeros_(layer.weight)
    assert torch.equal(Int8Linear(layer).weight, layer.weight)


def test_quantised_layers_are_an_eighth_of_their_bits(int8: AceStep, checkpoint: Checkpoint) -> None:
    layers = linear_layers(int8.adapted)
    quantised = {name for name, layer in layers.items() if isinstance(layer, Int8Linear)}
    assert quantised == {name for name in layers if name.startswith("layers.")}
    whole = linear_layers(AceStep.load(checkpoint, CPU, torch.float32).adapted)
    assert all((layers[name].weight - whole[name].weight).abs().max() < 0.01 for name in layers)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ace_step", "musicgen"])
def test_int8_rows_with_twins_are_the_same_in_any_batch(kind: str, checkpoint: Checkpoint) -> None:
    load: dict[str, Callable[[MemoryMode], Model[Any]]] = {
        "ace_step": lambda memory: AceStep.load(checkpoint, CPU, torch.float32, memory),
        "musicgen": lambda memory: MusicGen.load(
            resolve("starter", "musicgen_test", musicgen.build), CPU, torch.float32, memory
        ),
    }
    model, whole = load[kind](INT8), load[kind](MemoryMode())
    rows = [
        Row(Text("beat"), 1.0 + seed / 2, SamplingOptions(seed=seed, temperature=0), adapters=adapters)
        for seed, adapters in enumerate(
            [[], [(random_adapter(model, 4, 1, TARGETS), 1.0)], [(random_adapter(model, 8, 2, TARGETS), 0.5)]]
        )
    ]
    together = model.generate(rows)
    for row, track in zip(rows, together, strict=True):
        [alone] = model.generate([row])
        assert isinstance(track, np.ndarray) and isinstance(alone, np.ndarray)
        assert _difference(track, alone) < 1e-3
    responses = [_response(each, rows[1]) for each in (model, whole)]
    assert 0 < _difference(*responses) < 0.05


def _response(model: Model[Any], row: Row) -> torch.Tensor:
    work = model.response(row)
    while True:
        try:
            next(work)
        except StopIteration as end:
            response: torch.Tensor = end.value
            return response


def test_a_merged_copy_starts_from_the_rounded_weights(int8: AceStep) -> None:
    from adapters.delta_weights import LoraDelta
    from adapters.weights import AdapterWeights

    lora = random_adapter(int8, 4, 1, ("to_q",))
    deltas = {name: LoraDelta(pair.b.T, pair.a.T) for name, pair in lora.pairs.items()}
    merged = merge(int8.adapted, [(AdapterWeights(lora.header, {}, deltas), 1.0)])
    layers = linear_layers(int8.adapted)
    for name, pair in lora.pairs.items():
        torch.testing.assert_close(merged[name], layers[name].weight + (pair.a @ pair.b).T)
        assert merged[name].dtype == torch.float32


@pytest.mark.slow
def test_an_adapter_is_trained_beside_int8_weights(int8: AceStep) -> None:
    trainer = AceStepTrainer(int8)
    audio = np.random.default_rng(0).standard_normal((2, 96_000)).astype(np.float32)
    examples = [trainer.example(0.1 * audio, Text("beat"))]
    recipe = Recipe(steps=4, batch=2, rank=4, alpha=8, targets=("to_q", "down_proj"), learning_rate=1e-2, warmup=0)
    with session(trainer, int8.adapted, recipe) as running:
        losses = [running.advance(examples) for _ in range(recipe.steps)]
        pairs = running.pairs()
    assert np.isfinite(losses).all()
    assert all(pair.b.abs().max() > 0 and pair.b.dtype == torch.float32 for pair in pairs.values())


def test_offloaded_weights_are_on_the_device_only_while_they_run() -> None:
    where: list[str] = []

    class Layer(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            where.append(self.weight.device.type)
            return super().forward(x)

    layer = Layer(3, 2)
    weight = layer.weight.detach().clone()
    offload([layer], torch.device("meta"))
    with torch.inference_mode():
        assert layer(torch.empty(1, 3, device="meta")).device.type == "meta"
    assert where == ["meta"] and torch.equal(layer.weight, weight)
    with pytest.raises(RuntimeError):
        layer(torch.empty(1, 4, device="meta"))
    assert layer.weight.device.type == "cpu"


def test_folded_weight_norms_change_no_result() -> None:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(weight_norm(torch.nn.Conv1d(3, 4, 7)), weight_norm(torch.nn.ConvTranspose1d(4, 2, 4)))
    x = torch.randn(1, 3, 20)
    with torch.no_grad():
        before = layers(x)
    fold_weight_norms(layers)
    assert torch.equal(layers(x), before)
    assert {name for name, _ in layers.named_parameters()} == {"0.weight", "0.bias", "1.weight", "1.bias"}


def test_the_codec_of_a_loaded_model_has_its_weight_norms_folded(checkpoint: Checkpoint) -> None:
    vae = AceStep.load(checkpoint, CPU, torch.float32).pipeline.vae
    assert not any(name.endswith("weight_g") for name, _ in vae.named_parameters())


@pytest.mark.slow
def test_a_track_of_an_offloaded_model_is_the_same(checkpoint: Checkpoint) -> None:
    row = Row(Text("beat", lyrics="la la"), 1.0, SamplingOptions(seed=1))
    [whole] = AceStep.load(checkpoint, CPU, torch.float32).generate([row])
    model = AceStep.load(checkpoint, CPU, torch.float32)
    offload_parts(model.pipeline, CPU)
    [track] = model.generate([row])
    assert isinstance(track, np.ndarray) and isinstance(whole, np.ndarray)
    assert np.array_equal(track, whole)


@pytest.mark.parametrize(
    ("offload", "device", "total", "expected"),
    [
        ("auto", "cuda", 12, False),
        ("auto", "cuda", 8, True),
        ("off", "cuda", 8, False),
        ("on", "cuda", 80, True),
        ("on", "cpu", 8, False),
    ],
)
def test_offloading_begins_where_the_gpu_is_too_small(
    offload: Any, device: str, total: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    properties = SimpleNamespace(total_memory=total * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert MemoryMode(offload).offloads(torch.device(device), 6 * 2**30) is expected


@pytest.mark.slow
def test_a_step_with_int8_weights_launches_as_few_operations_as_others_may() -> None:
    with operations.pretended():
        launched = operations.ace_step([60.0], int8=True)
    assert launched.operations.total() <= 1300 and launched.waits == []
