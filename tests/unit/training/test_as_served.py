"""The twin that is evaluated plays as a runner plays it, from the model's own layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from peft.tuners.lora import LoraLayer

from models.ace_step import AceStep
from models.base import Text
from training.ace_step import AceStepTrainer
from training.evaluation.sampling import play
from training.loop import Session, session

pytestmark = pytest.mark.slow
TEXTS = [Text("techno", bpm=130), Text("house")]


@contextmanager
def _trained(model: AceStep) -> Iterator[Session]:
    """A session with an adapter that is heard."""
    trainer = AceStepTrainer(model)
    with session(trainer, model.adapted, replace(trainer.recipe(60), steps=3)) as running:
        generator = torch.Generator().manual_seed(1)
        values = running.named_parameters
        running.set_parameters(
            {name: torch.randn(each.shape, generator=generator) / 8 for name, each in values.items()}
        )
        yield running


def _layers(model: AceStep) -> list[str]:
    return [name for name, module in model.adapted.named_modules() if isinstance(module, LoraLayer)]


def test_pieces_are_those_of_the_trained_layers(model: AceStep) -> None:
    with _trained(model) as running:
        of_layers = play(model, TEXTS, 0.5)
        with running.disable_adapter():
            base = play(model, TEXTS, 0.5)
        with running.scaled(0.5):
            of_half = play(model, TEXTS, 0.5)
            with running.as_served() as pairs:
                half = play(model, TEXTS, 0.5, pairs)
        with running.as_served() as pairs:
            served, without = play(model, TEXTS, 0.5, pairs), play(model, TEXTS, 0.5)
    for index in range(len(TEXTS)):
        difference = np.abs(of_layers[index] - base[index]).max()
        assert difference > 0.01
        for found, wanted in ((served, of_layers), (without, base), (half, of_half)):
            assert np.abs(found[index] - wanted[index]).max() < 1e-3 * difference


def test_the_trained_layers_are_back_after_an_error(model: AceStep) -> None:
    with _trained(model) as running:
        layers = _layers(model)
        before = running.pairs()
        with pytest.raises(RuntimeError), running.as_served():
            assert layers and not _layers(model)
            raise RuntimeError
        assert _layers(model) == layers
        assert all(torch.equal(pair.b, before[name].b) for name, pair in running.pairs().items())
    assert not _layers(model)
