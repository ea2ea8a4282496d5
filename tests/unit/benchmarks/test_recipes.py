"""The search of recipes: what `--try` changes, and how its results are summed up."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from adapters.weights import LoraPair, linear_layers
from benchmarks.real.sampling import joined, play
from benchmarks.real.summary import by_backend, gain, is_lost, share, table
from benchmarks.real.trainers import VariedAceStepTrainer, shortened, train, with_replay
from benchmarks.real.variants import Variant, changed
from models.ace_step.model import AceStep
from models.base import Text
from models.checkpoints import resolve
from models.tiny import ace_step as tiny
from models.traits import Traits
from recipes.synthesiser import render, sample_song
from tests.unit.training.toy import RECIPE as TOY_RECIPE
from tests.unit.training.toy import ToyTrainer, toy_module, toy_split
from training.ace_step import AceStepTrainer
from training.base import Recipe
from training.loop import generator_of, session

RECIPE = Recipe(steps=400, batch=4, rank=16, alpha=32, targets=("to_q",), learning_rate=1e-3, warmup=40)


def test_a_recipe_is_changed_field_by_field() -> None:
    assert changed(RECIPE, "") == Variant(RECIPE)
    assert changed(RECIPE, "rank=8") == Variant(replace(RECIPE, rank=8, alpha=16))
    shorter = replace(RECIPE, rank=8, alpha=8, steps=100, warmup=10)
    assert changed(RECIPE, "rank=8,alpha=8,steps=100") == Variant(shorter)
    layers = replace(RECIPE, targets=("to_k", "cross_attn.to_v"))
    assert changed(RECIPE, "targets=to_k+cross_attn.to_v,mix,ema=.9") == Variant(layers, mix=True, ema=0.9)
    assert changed(RECIPE, "keep,mix,early=.7,strength=.5").trained == changed(RECIPE, "keep")
    for wrong in ("speed=2", "trained=1", "rank=high", "mix=no", "keep=1"):
        with pytest.raises(ValueError, match=r"no such field|invalid literal|alone"):
            changed(RECIPE, wrong)


def test_a_variant_that_would_change_nothing_is_refused() -> None:
    changed(RECIPE, "keep,times=discrete").check("ace_step", level_channels=4)
    changed(RECIPE, "rank=4,ema=.9,replay=.5,strength=.5").check("musicgen", level_channels=0)
    with pytest.raises(ValueError, match="musicgen"):
        changed(RECIPE, "mix").check("musicgen", level_channels=0)
    with pytest.raises(ValueError, match="level channels"):
        changed(RECIPE, "mix").check("ace_step", level_channels=0)
    with pytest.raises(ValueError, match="times=never"):
        changed(RECIPE, "times=never").check("ace_step", level_channels=4)


def test_replayed_examples_have_their_share() -> None:
    own, replayed = [{"x": torch.zeros(1)}] * 9, [{"x": torch.ones(1)}] * 2
    assert with_replay(own, [], 0.0) is own
    assert [int(example["x"]) for example in with_replay(own, replayed, 0.25)] == [0] * 9 + [1] * 3


def test_an_example_is_shortened_in_time_alone() -> None:
    example = {"codes": torch.zeros(4, 500), "text": torch.zeros(7, 64), "bar": torch.tensor(100.0)}
    short = shortened(example, SimpleNamespace(frame_rate=50), 3.0)
    assert {name: list(value.shape) for name, value in short.items()} == {"codes": [4, 150], "text": [7, 64], "bar": []}


def test_the_averaged_adapter_lags_behind_the_last_one() -> None:
    module = toy_module()
    examples = toy_split(module).train.examples

    def size(ema: float = 0.0) -> float:
        variant = Variant(TOY_RECIPE, ema=ema)
        [pair] = train(ToyTrainer(module), module, examples, [], variant).values()
        return float((pair.a @ pair.b).norm())

    last = size()
    assert 0 < size(ema=0.99) < 0.9 * last
    assert size(ema=1e-9) == pytest.approx(last, rel=1e-5)


@pytest.fixture(scope="module")
def model() -> AceStep:
    model = AceStep.load(resolve("starter", "ace_step_test", tiny.build), torch.device("cpu"), torch.float32)
    model.traits = Traits(level_channels=2)
    return model


def _losses(trainer: AceStepTrainer, model: AceStep) -> list[float]:
    """Of two clips, with an adapter that has not changed yet."""
    audio = render(sample_song(np.random.default_rng(1), "techno"), 3, model.sample_rate)
    examples = [trainer.example(audio, Text("techno", bpm=130))] * 2
    with session(trainer, model.adapted, trainer.recipe(60)):
        losses = trainer.losses(examples, [generator_of(seed) for seed in range(2)])
    return [float(loss) for loss in losses.detach()]


@pytest.mark.slow
def test_the_losses_are_what_the_variant_says(model: AceStep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AceStepTrainer, "_time", lambda self, generator: 0.25)
    plain = _losses(AceStepTrainer(model), model)

    def varied(text: str) -> list[float]:
        return _losses(VariedAceStepTrainer(model, changed(RECIPE, text)), model)

    assert varied("") == pytest.approx(plain, rel=1e-4)
    assert varied("time_power=2") == pytest.approx([loss / 16 for loss in plain], rel=1e-3)
    assert varied("min_snr=5") == pytest.approx([loss * 5 / 16 for loss in plain], rel=1e-3)
    # As long as the adapter changes nothing, the channels whose target is the base model's output add nothing.
    assert all(0 < kept < 0.8 * loss for kept, loss in zip(varied("keep"), plain, strict=True))
    assert varied("no_caption=1") != pytest.approx(plain, rel=1e-3)


@pytest.mark.slow
def test_a_mixed_track_is_the_twins_before_and_the_base_models_after(model: AceStep) -> None:
    generator = torch.Generator().manual_seed(0)
    pairs = {
        name: LoraPair(
            torch.randn(layer.in_features, 2, generator=generator) / 2,
            torch.randn(2, layer.out_features, generator=generator) / 2,
        )
        for name, layer in linear_layers(model.adapted).items()
        if name.endswith("to_v")
    }
    texts = [Text("techno", bpm=130)]

    def track(text: str) -> np.ndarray:
        [[audio]] = play(model, texts, 1, 2.0, pairs, changed(RECIPE, text))
        return audio

    [[base]] = play(model, texts, 1, 2.0)
    twin = track("")
    assert not np.allclose(twin, base, atol=0.01)
    assert np.allclose(track("early=1"), base, atol=1e-3)
    assert np.allclose(track("early=1e-6"), twin, atol=1e-3)
    mixed = track("mix")
    assert not np.allclose(mixed, base, atol=0.01) and not np.allclose(mixed, twin, atol=0.01)


def test_channels_are_joined() -> None:
    twin, base = torch.ones(1, 2, 3), torch.zeros(1, 2, 3)
    assert joined(twin, base, 1)[0, 0].tolist() == [1, 0, 0]
    assert joined(twin, base, None).equal(twin) and joined(twin, base, 0).equal(base)


def _line(composer: str, recipe: str, pulse: float, distance: float) -> str:
    values = {"pulse": pulse, "persistence": 0.1, "distance": distance}
    noise = np.random.default_rng(0).normal(0, 0.01, 10)
    figures = {name: list(value + noise) for name, value in values.items()}
    return json.dumps({"composer": composer, "backend": "ace_step", "recipe": recipe, "figures": figures})


def test_recipes_are_summed_up_over_composers() -> None:
    lines = [
        _line(composer, recipe, level * pulse, distance)
        for composer, level in (("ada", 1.0), ("bob", 0.8))
        for recipe, pulse, distance in (("real", 0.8, 1), ("base", 0.8, 4), ("default", 0.3, 2), ("mix", 0.6, 3))
    ]
    rows = by_backend([_line("ada", "real", 0.0, 9.0), *lines])["ace_step"]
    assert share(rows, "default", "pulse").value == pytest.approx(0.375, abs=0.02)
    assert gain(rows, "mix", "pulse").value == pytest.approx(0.375, abs=0.02)
    assert gain(rows, "mix", "distance").low > 0
    assert is_lost(rows, "default", "ada") and not is_lost(rows | {"same": rows["base"]}, "same", "ada")
    *_, default, mix = table(rows).splitlines()
    assert default.startswith("| default | 2 | 0.38") and default.endswith("| ada, bob |")
    assert "*" in mix.split("|")[3] and "!" in mix.split("|")[5]
    for composer in ("ada", "bob"):
        rows["base"][composer]["persistence"] = np.linspace(-0.03, 0.0417, 10)
    assert table(rows).splitlines()[-1].split("|")[4] == " – "
