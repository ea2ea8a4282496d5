"""The work that a GPU would get, tested without one: tensors are fake, with the shapes, devices and waits of a GPU.

Whatever needs a value of a fake tensor raises, as on a GPU it would be waited for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from adapters.adapter_file import Header
from adapters.delta_weights import DoraDelta, LoraDelta
from adapters.weights import AdapterWeights, LoraPair, linear_layers
from benchmarks import operations
from benchmarks.operations import Launched
from contract import SamplingOptions
from models.ace_step import AceStep, packed
from models.ace_step.checkpoint import offload_parts
from models.ace_step.codec import decode
from models.ace_step.sampling import Defaults
from models.base import Model, Row, Text, run_to_end
from models.checkpoints import resolve
from models.musicgen import MusicGen
from models.tiny import ace_step, musicgen
from training.ace_step import AceStepTrainer
from training.musicgen import MusicGenTrainer

pytestmark = pytest.mark.slow

CUDA = torch.device("cuda")


def _moved(module: torch.nn.Module) -> None:
    """Put fake tensors on a GPU in the place of all parameters and buffers."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = torch.nn.Parameter(_fake(parameter), requires_grad=False)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = _fake(buffer)


def _fake(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device=CUDA)


@pytest.fixture(params=[torch.bfloat16, torch.float32], ids=["bf16", "fp32"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    dtype: torch.dtype = request.param
    return dtype


@pytest.fixture
def ace(dtype: torch.dtype) -> Iterator[AceStep]:
    model = AceStep.load(resolve("starter", "ace_step_test", ace_step.build), torch.device("cpu"), dtype)
    with operations.pretended(dtype, varlen=dtype is torch.bfloat16):
        for part in ("transformer", "condition_encoder", "text_encoder", "vae"):
            _moved(getattr(model.pipeline, part))
        yield model


@pytest.fixture
def music(dtype: torch.dtype) -> Iterator[MusicGen]:
    model = MusicGen.load(resolve("starter", "musicgen_test", musicgen.build), torch.device("cpu"), dtype)
    with operations.pretended(torch.float32):
        _moved(model.model)
        yield model


def _twin(model: Model[Any], dora: bool = False) -> AdapterWeights:
    pairs, changes = {}, {}
    for name, layer in linear_layers(model.adapted).items():
        if name.endswith(("q_proj", "to_q", "to_v", "v_proj", "down_proj", "fc2")):
            a, b = (
                torch.empty(shape, dtype=model.dtype, device=CUDA)
                for shape in ((layer.in_features, 4), (4, layer.out_features))
            )
            if dora:
                magnitude = torch.empty(layer.out_features, 1, dtype=model.dtype, device=CUDA)
                changes[name] = DoraDelta(LoraDelta(b.T, a.T), magnitude)
            else:
                pairs[name] = LoraPair(a, b)
    return AdapterWeights(
        Header("p", "m", model.backend, "starter", "0", 4, "job", "2026-01-01T00:00:00+00:00", "0"), pairs, changes
    )


@pytest.mark.parametrize("kind", ["base", "guided", "lora", "dora"])
def test_ace_step_waits_for_nothing_in_its_loop(ace: AceStep, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ace.defaults = Defaults(2, 1.0, 4.0, guided=kind == "guided")
    adapters = {"lora": [(_twin(ace), 1.0)], "dora": [(_twin(ace, dora=True), 1.0)]}.get(kind, [])
    rows = [Row(Text("beat"), seconds, SamplingOptions(seed=1), adapters=adapters) for seconds in (3.0, 1.3)]
    runs = [ace.begin(row) for row in rows]
    batch = ace.batch(runs)
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: None)
    with Launched() as launched:
        while runs[0].steps_left:
            run_to_end(batch.step())
    assert launched.waits == [] and runs[0].latents.device.type == "cuda"
    assert runs[0].latents.dtype == ace.dtype


@pytest.mark.parametrize("kind", ["base", "lora", "dora"])
def test_musicgen_waits_for_nothing_in_its_loop(music: MusicGen, kind: str) -> None:
    adapters = {"lora": [(_twin(music), 1.0)], "dora": [(_twin(music, dora=True), 1.0)]}.get(kind, [])
    runs = [
        music.begin(Row(Text("beat"), 0.2, SamplingOptions(seed=seed, temperature=seed), adapters=adapters))
        for seed in (0, 1, 1)
    ]
    batch = music.batch(runs)
    with Launched() as launched:
        for _ in range(5):
            run_to_end(batch.step())
    assert launched.waits == [] and runs[0].positions.device.type == "cuda"


@pytest.mark.parametrize("saving", [False, True])
def test_training_goes_forward(ace: AceStep, saving: bool) -> None:
    """Backward takes a GPU."""
    transformer = ace.pipeline.transformer
    if saving:
        AceStepTrainer(ace).save_memory()
    transformer.layers[0].self_attn.to_q.weight.requires_grad_(True)
    frames = (60, 41)
    contexts, latents = ([torch.empty(1, count, size) for count in frames] for size in (16, 8))
    with torch.enable_grad(), Launched() as launched:
        pack = packed.Pack(transformer, packed.streams(transformer, contexts, [torch.empty(1, 9, 32)] * 2))
        velocities = pack.velocities(latents, torch.empty(2))
    assert all(each.requires_grad and each.device.type == "cuda" for each in velocities)
    # Which blocks are a stream's own: once for a batch.
    assert len(launched.waits) <= 1


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that training draws on the CPU and looks at, which fake tensors have not."""
    monkeypatch.setattr(torch, "randint", lambda *_, **__: 0)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: 0.1)
    monkeypatch.setattr(AceStepTrainer, "_time", lambda *_: 0.5)


@pytest.mark.parametrize("guided", [False, True])
def test_a_training_step_waits_for_nothing_before_its_loss(ace: AceStep, guided: bool, drawn: None) -> None:
    ace.pipeline.is_turbo = not guided
    trainer = AceStepTrainer(ace)
    with torch.device("cpu"):
        example = {
            "mean": torch.empty(1, 60, 8),
            "deviation": torch.empty(1, 60, 8),
            "condition": torch.empty(1, 9, 32, dtype=ace.dtype),
        }
        generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    with torch.device("cpu"), torch.enable_grad(), Launched() as launched:
        losses = trainer.losses([example] * 3, generators)
    assert losses.device.type == "cuda" and launched.waits == []


def test_a_training_step_of_musicgen_waits_for_nothing_before_its_loss(music: MusicGen, drawn: None) -> None:
    trainer = MusicGenTrainer(music)
    with torch.device("cpu"):
        example = {
            "codes": torch.empty(4, 60, dtype=torch.long),
            "text": torch.empty(9, 128, dtype=music.dtype),
            "bar": torch.tensor(0.0),
        }
        generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    with torch.device("cpu"), torch.enable_grad(), Launched() as launched:
        losses = trainer.losses([example] * 3, generators)
    assert losses.device.type == "cuda" and launched.waits == []


def test_offloaded_parts_run_on_the_gpu(ace: AceStep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: None)
    encoder = ace.pipeline.condition_encoder
    # It is there already, and torch cannot move modules whose parameters are fake.
    monkeypatch.setattr(encoder, "to", lambda device: encoder)
    offload_parts(ace.pipeline, CUDA)
    assert next(ace.pipeline.text_encoder.parameters()).device.type == "cpu"
    row = Row(Text("beat", lyrics="la la"), 1.0, SamplingOptions(seed=1))
    run = ace.begin(row)
    assert run.latents.device.type == "cuda" == run.streams[0].context.device.type
    trained = AceStepTrainer(ace).example(np.zeros((2, 48_000), np.float32), Text("beat"))
    assert {tensor.device.type for tensor in trained.values()} == {"cuda"}
    audio = run_to_end(decode(ace.pipeline.vae, run.latents))
    assert audio.device.type == "cuda" and next(ace.pipeline.vae.parameters()).device.type == "cpu"


@pytest.mark.parametrize(
    ("seconds", "targets", "most"),
    [
        ([60.0], (), 700),
        ([10.0, 20.0, 30.0], (), 800),
        ([10.0] * 8, operations.ACE_STEP, 1000),
        ([10.0, 20.0, 30.0, 41.0, 50.0, 60.0, 70.0, 83.0], operations.ACE_STEP, 1300),
    ],
)
def test_a_step_of_ace_step_launches_few_operations(seconds: list[float], targets: tuple[str, ...], most: int) -> None:
    with operations.pretended():
        launched = operations.ace_step(seconds, targets)
    assert launched.operations.total() <= most and launched.waits == []


def test_without_flash_attention_a_masked_step_keeps_no_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that do not keep all scores take a mask only where there are as many heads of keys as of queries."""
    heads: list[tuple[bool, int, int]] = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def overheard(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, attn_mask: Any, **more: Any) -> torch.Tensor:
        heads.append((attn_mask is not None, q.shape[1], k.shape[1]))
        assert attn_mask is None or (attn_mask.dtype == q.dtype and attn_mask.stride(0) % 16 == 0)
        return attend(q, k, v, attn_mask=attn_mask, **more)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", overheard)
    with operations.pretended(varlen=False):
        operations.ace_step([60.0], num_hidden_layers=2)
    assert heads == [(True, 16, 16), (False, 16, 8), (False, 16, 8), (False, 16, 8)]


@pytest.mark.parametrize(("rows", "targets", "most"), [(1, (), 330), (8, (), 330), (8, operations.MUSICGEN, 530)])
def test_a_token_of_musicgen_launches_few_operations(rows: int, targets: tuple[str, ...], most: int) -> None:
    with operations.pretended():
        launched = operations.musicgen(rows, targets)
    assert launched.operations.total() <= most and launched.waits == []


def test_drawing_a_token_launches_few_operations(music: MusicGen) -> None:
    runs = [music.begin(Row(Text("beat"), 0.2, SamplingOptions(seed=seed))) for seed in range(2)]
    batch = music.batch(runs)
    with Launched() as launched:
        run_to_end(batch.step())
    layers = len(music.model.decoder.model.decoder.layers)
    # 13 for each layer, as is counted above.
    assert launched.operations.total() - 13 * layers <= 350 - 13 * 24
