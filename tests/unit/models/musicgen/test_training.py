"""Training of MusicGen, against the loss of transformers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from adapters.weights import AdapterWeights
from contract import SamplingOptions
from models.base import Row, Text
from models.musicgen import MusicGen
from models.musicgen.pattern import delay, delays
from models.traits import Traits
from tests.unit.models.musicgen.support import PROMPT, adapter, play
from training.loop import train
from training.musicgen import MusicGenTrainer


def _clip(seconds: float, channels: int = 1) -> NDArray[np.float32]:
    time = np.arange(round(seconds * 32_000)) / 32_000
    kick = np.sin(2 * np.pi * 55 * time) * np.exp(-8 * (time % 0.5))
    tone = 0.3 * np.sin(2 * np.pi * 220 * (1 + time // 1 % 3 / 4) * time)
    return np.tile((0.4 * (kick + tone)).astype(np.float32), (channels, 1))


@pytest.mark.slow
def test_training_learns_a_clip(model: MusicGen) -> None:
    trainer = MusicGenTrainer(model)
    example = trainer.example(_clip(4.0), PROMPT)
    assert example["codes"].shape == (4, 200) and example["text"].shape[1] == 128
    (before,) = play(model, Row(PROMPT, 0.2, SamplingOptions(seed=1)))
    losses: list[float] = []
    recipe = replace(trainer.recipe(4.0), steps=40, batch=1, warmup=4)
    pairs = train(trainer, model.adapted, [example], recipe, lambda _, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < losses[0] - 1
    assert len(pairs) == 3 * 8
    weights = AdapterWeights(adapter(model, 16, 0).header, pairs)
    twin, base = play(
        model,
        Row(PROMPT, 0.2, SamplingOptions(seed=1), adapters=[(weights, 1.0)]),
        Row(PROMPT, 0.2, SamplingOptions(seed=1)),
    )
    assert np.array_equal(base, before), "training leaves the model as it was"
    assert np.abs(twin - base).max() > 0.01


def test_loss_is_the_stock_loss(model: MusicGen, stereo: MusicGen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.musicgen._TEXT_DROPOUT", 0.0)
    for each in (model, stereo):
        trainer = MusicGenTrainer(each)
        example = trainer.example(_clip(1.0, each.channels), PROMPT)
        labels = delay(example["codes"], delays(len(example["codes"]), each.channels), 512)[:, 1:].T[None].clone()
        stock = each.model.decoder(labels=labels, encoder_hidden_states=example["text"][None]).loss
        assert trainer.losses([example], [torch.Generator()]).item() == pytest.approx(stock.item(), abs=1e-5)


def test_loss_of_an_example_is_the_same_in_any_batch(model: MusicGen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.musicgen._TEXT_DROPOUT", 0.0)
    trainer = MusicGenTrainer(model)
    examples = [trainer.example(_clip(1.0), PROMPT), trainer.example(_clip(0.5), Text("another, longer text"))]
    alone = [trainer.losses([example], [torch.Generator()]).item() for example in examples]
    together = trainer.losses(examples, [torch.Generator(), torch.Generator()])
    assert together.tolist() == pytest.approx(alone, abs=1e-5)


def test_text_left_out_is_what_guidance_leaves_out(model: MusicGen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.musicgen._TEXT_DROPOUT", 1.0)
    trainer = MusicGenTrainer(model)
    one, two = (trainer.example(_clip(1.0), Text(prompt)) for prompt in ("one", "another text"))
    assert trainer.losses([one], [torch.Generator()]).item() == pytest.approx(
        trainer.losses([two], [torch.Generator()]).item(), abs=1e-6
    )


@pytest.mark.parametrize(("clock", "time_signature", "bar"), [(True, None, 100), (True, "3", 75), (False, None, 0)])
def test_crops_begin_on_a_bar_for_a_model_that_counts_beats(
    model: MusicGen, monkeypatch: pytest.MonkeyPatch, clock: bool, time_signature: str | None, bar: int
) -> None:
    monkeypatch.setattr(model, "traits", Traits(clock=clock))
    trainer = MusicGenTrainer(model)
    example = trainer.example(_clip(2.0), Text("beat", bpm=120, time_signature=time_signature))
    frames = torch.arange(15 * 50)
    example["codes"] = frames.repeat(len(example["codes"]), 1)
    starts: set[int] = set()
    for seed in range(60):
        crop = trainer.crop(example, torch.Generator().manual_seed(seed))
        assert torch.equal(crop[0], frames[crop[0, 0] : crop[0, 0] + 500])
        starts.add(int(crop[0, 0]))
    if bar:
        assert starts == set(range(0, 251, bar))
    else:
        assert len(starts) > 40
