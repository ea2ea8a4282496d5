"""ACE-Step rows of different kinds, denoised together, against diffusers' own pipeline run alone."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AceStepPipeline
from diffusers.models.autoencoders.autoencoder_oobleck import Snake1d

from adapters.adapter_file import InvalidAdapter
from adapters.serialization import decode, encode, encode_tensors
from adapters.weights import AdapterWeights, LoraPair, linear_layers
from contract import SamplingOptions
from models.ace_step import AceStep, codec, conditions
from models.ace_step.sampling import Batch, Defaults, Run
from models.ace_step.snake import Snake
from models.base import Row, Text, run_to_end
from models.checkpoints import resolve
from models.tiny import ace_step as tiny
from tests.adapter_files import seal
from tests.random_adapters import header, random_adapter

TURBO = Defaults(8, 3.0, 1.0, guided=False)
GUIDED = Defaults(6, 1.0, 4.0)


def _adapter(
    model: AceStep, rank: int, seed: int, targets: tuple[str, ...] = ("to_q", "to_v", "to_out.0", "down_proj")
) -> AdapterWeights:
    return random_adapter(model, rank, seed, targets)


def _rows(model: AceStep) -> list[Row]:
    one, two = (
        _adapter(model, 4, 1),
        _adapter(model, 8, 2, ("to_k", "gate_proj", "linear_1", "condition_embedder")),
    )
    return [
        Row(Text("808 trap beat, dark synth", bpm=140, key="A minor"), 2.0, SamplingOptions(seed=1)),
        Row(
            Text("a much longer prompt about lo-fi hip hop with warm keys " * 3, time_signature="4"),
            5.25,
            SamplingOptions(seed=2, steps=5),
        ),
        Row(Text("house", lyrics="la la la"), 3.33, SamplingOptions(seed=3, guidance=2.5), adapters=[(one, 1.0)]),
        Row(Text("techno ☃", bpm=131), 1.1, SamplingOptions(seed=4, steps=11), adapters=[(one, 0.5), (two, -0.7)]),
    ]


def sample(pipeline: AceStepPipeline, rows: Sequence[Row], defaults: Defaults) -> list[torch.Tensor]:
    """The latents of rows that take their steps together."""
    runs = [Run(pipeline, row, defaults) for row in rows]
    while left := [run for run in runs if run.steps_left]:
        run_to_end(Batch(pipeline, left).step())
    return [run.latents for run in runs]


def _stock(model: AceStep, row: Row, defaults: Defaults) -> torch.Tensor:
    """The same row by diffusers alone, its adapters merged into the weights."""
    pipeline = copy.copy(model.pipeline)
    transformer = copy.deepcopy(model.pipeline.transformer)
    layers = linear_layers(transformer)
    for weights, strength in row.adapters:
        for name, pair in weights.pairs.items():
            layers[name].weight.data += strength * (pair.a @ pair.b).T
    pipeline.transformer = transformer
    pipeline.is_turbo = not defaults.guided
    pipeline.set_progress_bar_config(disable=True)
    guidance = defaults.guidance if row.options.guidance is None else row.options.guidance
    return pipeline(
        prompt=row.text.prompt,
        lyrics=row.text.lyrics or "[Instrumental]",
        audio_duration=row.seconds,
        num_inference_steps=row.options.steps or defaults.steps,
        guidance_scale=guidance if defaults.guided else 1.0,
        shift=defaults.shift,
        generator=torch.Generator().manual_seed(row.options.seed),
        bpm=row.text.bpm,
        keyscale=row.text.key,
        timesignature=row.text.time_signature,
        output_type="latent",
    ).audios


@pytest.mark.parametrize("defaults", [TURBO, GUIDED], ids=["turbo", "guided"])
def test_rows_in_one_batch_equal_the_stock_pipeline_alone(model: AceStep, defaults: Defaults) -> None:
    rows = [row for row in _rows(model) if row.seconds != 1.1 or not defaults.guided]
    for row, ours in zip(rows, sample(model.pipeline, rows, defaults), strict=True):
        # The stock pipeline cannot make 1.1 s: it counts one frame too many there.
        if row.seconds == 1.1:
            continue
        stock = _stock(model, row, defaults)
        assert isinstance(ours, torch.Tensor)
        assert ours.shape == stock.shape
        assert (ours - stock).abs().max() <= 2e-4 * stock.std()


def test_unknown_lyrics_are_not_instrumental(model: AceStep) -> None:
    instrumental = conditions.encode(model.pipeline, Text("house"), 3.0)
    assert torch.equal(conditions.encode(model.pipeline, Text("house", "[Instrumental]"), 3.0), instrumental)
    unknown = conditions.encode(model.pipeline, Text("house", None), 3.0)
    assert unknown.shape[1] < instrumental.shape[1]


def test_neighbours_and_their_order_change_nothing(model: AceStep) -> None:
    rows = _rows(model)
    alone = [model.generate([row])[0] for row in rows]
    together = model.generate(rows)
    backwards = model.generate(rows[::-1])[::-1]
    for single, one, other, row in zip(alone, together, backwards, rows, strict=True):
        assert isinstance(single, np.ndarray) and isinstance(one, np.ndarray) and isinstance(other, np.ndarray)
        assert single.shape == (model.channels, round(row.seconds * model.sample_rate))
        assert np.abs(single - one).max() <= 1 / 32768
        assert np.abs(single - other).max() <= 1 / 32768


def test_a_row_without_adapter_is_the_base_models_to_the_bit(model: AceStep) -> None:
    plain = Row(Text("ambient"), 2.0, SamplingOptions(seed=9))
    tuned = Row(Text("ambient"), 2.0, SamplingOptions(seed=9), adapters=[(_adapter(model, 8, 5), 1.0)])
    beside_base = sample(model.pipeline, [plain, plain], TURBO)[0]
    beside_twin, twin = sample(model.pipeline, [plain, tuned], TURBO)
    assert isinstance(beside_base, torch.Tensor) and isinstance(beside_twin, torch.Tensor)
    assert torch.equal(beside_base, beside_twin)
    assert isinstance(twin, torch.Tensor)
    assert (twin - beside_base).std() > 0.01 * beside_base.std()


def test_a_seed_is_a_piece_of_music(model: AceStep) -> None:
    first, again, other = (
        model.generate([Row(Text("beat"), 1.0, SamplingOptions(seed=seed))])[0] for seed in (1, 1, 2)
    )
    assert isinstance(first, np.ndarray) and isinstance(again, np.ndarray) and isinstance(other, np.ndarray)
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=0.01)


def test_one_bad_row_fails_alone(model: AceStep) -> None:
    weights = _adapter(model, 4, 1)
    name = next(name for name in weights.pairs if name.endswith("down_proj"))
    poisoned = dict(weights.pairs)
    poisoned[name] = LoraPair(poisoned[name].a * float("nan"), poisoned[name].b)
    good, bad = (
        Row(Text("beat"), 1.0, SamplingOptions(seed=1)),
        Row(
            Text("beat"),
            1.0,
            SamplingOptions(seed=1),
            adapters=[(AdapterWeights(header("ace_step", 4), poisoned), 1.0)],
        ),
    )
    results = model.generate([good, bad])
    assert isinstance(results[0], np.ndarray)
    assert isinstance(results[1], FloatingPointError)


def test_the_adapter_file_comes_back_as_it_was(model: AceStep) -> None:
    weights = _adapter(model, 4, 3)
    data = encode(weights.header, weights.pairs, model)
    back = decode(data, model)
    assert back.header.lora_id == "p:m" and len(back.header.sha256) == 64
    assert back.pairs.keys() == weights.pairs.keys()
    for name, pair in weights.pairs.items():
        assert torch.equal(back.pairs[name].a, pair.a) and torch.equal(back.pairs[name].b, pair.b)


def test_diffusers_loads_the_file_and_makes_the_same_music(model: AceStep, tmp_path: Path) -> None:
    weights = _adapter(model, 4, 3)
    (tmp_path / "adapter.safetensors").write_bytes(encode(weights.header, weights.pairs, model))
    row = Row(Text("beat"), 2.0, SamplingOptions(seed=1), adapters=[(weights, 1.0)])
    ours = sample(model.pipeline, [row], TURBO)[0]
    pipeline = type(model.pipeline).from_pretrained(resolve("starter", "ace_step_test", tiny.build).folder)
    pipeline.load_lora_weights(tmp_path, weight_name="adapter.safetensors")
    stand_in = AceStep(pipeline, TURBO)
    theirs = _stock(stand_in, Row(Text("beat"), 2.0, SamplingOptions(seed=1)), TURBO)
    assert isinstance(ours, torch.Tensor)
    assert (ours - theirs).abs().max() <= 1e-4


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:-10], "truncated"),
        (lambda data: b"placeholder", "safetensors"),
        (lambda data: data[:-4] + b"\x00\x01\x02\x03", "digest"),
        (lambda data: seal(data.replace(b"q_proj", b"x_proj")), "matches nothing"),
        (lambda data: seal(data.replace(b'"ace_step"', b'"musicgen"')), "musicgen"),
    ],
)
def test_damaged_adapters_are_refused_by_name(model: AceStep, damage, reason: str) -> None:  # type: ignore[no-untyped-def]
    weights = _adapter(model, 4, 3)
    with pytest.raises(InvalidAdapter, match=reason):
        decode(damage(encode(weights.header, weights.pairs, model)), model)


def test_an_adapter_of_another_size_is_refused(model: AceStep) -> None:
    weights = _adapter(model, 4, 3, ("to_q",))
    wrong = {name: LoraPair(pair.a[:10], pair.b) for name, pair in weights.pairs.items()}
    with pytest.raises(InvalidAdapter, match="is for a layer of 10"):
        decode(encode(weights.header, wrong, model), model)


def test_the_tiny_checkpoint_is_always_the_same(tmp_path: Path) -> None:
    for name in ("one", "two"):
        tiny.build(tmp_path / name)
    first, second = (resolve(str(tmp_path / name), "ace_step", tiny.build) for name in ("one", "two"))
    assert first.sha256 == second.sha256


def test_audio_in_pieces_is_the_audio_as_a_whole(model: AceStep, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 130, model.pipeline.vae.config.decoder_input_channels, generator=generator)
    with torch.inference_mode():
        whole = model.pipeline.vae.decode(latents.transpose(1, 2)).sample[0]
    monkeypatch.setattr("models.chunked_decoding._CHUNK_FRAMES", 40)
    monkeypatch.setattr("models.chunked_decoding._MIN_CHUNK_OVERLAPS", 1)
    pieces = run_to_end(codec.decode(model.pipeline.vae, latents))
    assert pieces.shape == whole.shape
    assert (pieces - whole).abs().max() <= 1e-5 * whole.std()


def test_what_does_not_mix_equals_merged_weights(model: AceStep) -> None:
    """DoRA, LoKr and LoHa from a file, at two strengths, in batches of their own beside a row of the base model."""
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 0.3

    tensors: dict[str, torch.Tensor] = {}
    for name, layer in linear_layers(model.adapted).items():
        key, out, into = f"base_model.model.{model.file_name(name)}", layer.out_features, layer.in_features
        if name.endswith("self_attn.to_q"):
            tensors[f"{key}.lora_A.weight"], tensors[f"{key}.lora_B.weight"] = random(4, into), random(out, 4)
            tensors[f"{key}.lora_magnitude_vector"] = random(out) + 1
        elif name.endswith("to_v"):
            tensors[f"{key}.lokr_w1"] = random(out // 8, into // 8)
            tensors[f"{key}.lokr_w2_a"], tensors[f"{key}.lokr_w2_b"] = random(8, 2), random(2, 8)
        elif name.endswith("down_proj"):
            for part, shape in {"w1_a": (out, 2), "w1_b": (2, into), "w2_a": (out, 2), "w2_b": (2, into)}.items():
                tensors[f"{key}.hada_{part}"] = random(*shape)
    weights = decode(encode_tensors(tensors, header("ace_step", 4)), model)
    assert len(weights.deltas) == 8 and not weights.pairs

    def merged(strength: float) -> AceStep:
        pipeline = copy.copy(model.pipeline)
        pipeline.transformer = copy.deepcopy(model.pipeline.transformer)
        layers = linear_layers(pipeline.transformer)
        for name, delta in weights.deltas.items():
            layers[name].weight.data += strength * delta.of(layers[name].weight)
        return AceStep(pipeline, model.defaults)

    plain = Row(Text("beat"), 1.0, SamplingOptions(seed=1))
    base, half, whole = model.generate(
        [plain, replace(plain, adapters=[(weights, 0.5)]), replace(plain, adapters=[(weights, 1.0)])]
    )
    for ours, theirs in ((base, model), (half, merged(0.5)), (whole, merged(1.0))):
        (expected,) = theirs.generate([plain])
        assert isinstance(ours, np.ndarray) and isinstance(expected, np.ndarray)
        assert np.abs(ours - expected).max() <= 1e-4
    assert isinstance(base, np.ndarray) and isinstance(whole, np.ndarray)
    assert np.abs(base - whole).max() > 0.01


@pytest.mark.parametrize("logscale", [True, False])
def test_the_quick_activation_is_that_of_diffusers(logscale: bool) -> None:
    theirs = Snake1d(5, logscale=logscale)
    for parameter in theirs.parameters():
        torch.nn.init.uniform_(parameter, 0.1, 2)
    x = torch.randn(2, 5, 300)
    with torch.inference_mode():
        assert (Snake(theirs)(x) - theirs(x)).abs().max() <= 2e-6
