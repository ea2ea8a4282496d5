"""The share of the latents that is predicted is told apart by channels, and sees what the mean loss hides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from models.ace_step import AceStep
from models.base import Text
from models.checkpoints import resolve
from models.tiny import ace_step as tiny
from recipes.synthesiser import render, sample_song
from training.ace_step import AceStepTrainer
from training.base import Example, Prediction
from training.evaluation.explained import TIMES, explain, r_squared
from training.loop import generator_of

LEVELS = 2


def _latents(seed: int, frames: int = 400) -> torch.Tensor:
    return 3 + torch.randn(frames, 5, generator=torch.Generator().manual_seed(seed))


def test_the_mean_explains_nothing_and_the_truth_everything() -> None:
    latents = _latents(0)
    every = slice(None)
    assert r_squared([Prediction(latents, latents)], every) == pytest.approx(1)
    assert r_squared([Prediction(latents, latents.mean(0).expand_as(latents))], every) == pytest.approx(0, abs=1e-6)
    noisy = latents + 0.5 * torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
    assert r_squared([Prediction(latents, noisy)], every) == pytest.approx(0.75, abs=0.05)
    assert r_squared([Prediction(latents, 10 - latents)], every) < 0  # type: ignore[operator]
    assert r_squared([Prediction(latents, latents)], slice(0)) is None


class LevelsOnly:
    """Predicts the levels, and of the other channels only the mean."""

    def predictions(
        self, examples: Sequence[Example], generators: Sequence[torch.Generator], time: float
    ) -> list[Prediction]:
        found = []
        for example, generator in zip(examples, generators, strict=True):
            predicted = torch.full_like(example["mean"], 3)
            noise = time * torch.randn(example["mean"].shape, generator=generator)
            predicted[:, :LEVELS] = (example["mean"] + noise)[:, :LEVELS]
            found.append(Prediction(example["mean"], predicted))
        return found


def test_levels_are_told_apart_from_the_other_channels() -> None:
    examples = [{"mean": _latents(seed)} for seed in range(6)]
    much, half = explain(LevelsOnly(), examples, "held_out", LEVELS)
    assert (much.time, half.time) == TIMES
    assert much.levels == pytest.approx(1 - 0.8**2, abs=0.05) and half.levels == pytest.approx(1 - 0.5**2, abs=0.05)
    assert much.other == pytest.approx(0, abs=0.02)
    assert explain(LevelsOnly(), examples, "held_out", LEVELS) == [much, half]
    assert explain(LevelsOnly(), examples, "held_out", 0)[0].levels is None


@pytest.mark.slow
def test_ace_step_predicts_the_less_the_more_noise_there_is() -> None:
    model = AceStep.load(resolve("starter", "ace_step_test", tiny.build), torch.device("cpu"), torch.float32)
    trainer = AceStepTrainer(model)
    audio = render(sample_song(np.random.default_rng(1), "techno"), 4, model.sample_rate)
    examples = [trainer.example(audio, Text("techno", bpm=130))] * 2
    generators = [generator_of(0), generator_of(0)]
    one, same = trainer.predictions(examples, generators, 0.3)
    assert one.latents.shape == one.predicted.shape == examples[0]["mean"].shape[1:]
    assert torch.allclose(one.predicted, same.predicted, atol=1e-4)
    explained = [
        r_squared(trainer.predictions(examples[:1], [generator_of(0)], t), slice(None)) for t in (1e-3, 0.3, 1)
    ]
    # At t = 0 the example is there without noise.
    assert explained[0] == pytest.approx(1, abs=0.01)
    assert explained[0] > explained[1] > explained[2]  # type: ignore[operator]
