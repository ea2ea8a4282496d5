"""The training loop learns reproducibly, and the example cache computes each example once."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.ace_step import AceStep
from models.base import Text
from models.checkpoints import resolve
from models.tiny import ace_step as tiny
from recipes.synthesiser import render, sample_song
from training.ace_step import AceStepTrainer
from training.base import Example, Recipe
from training.examples import ExampleCache, Examples
from training.loop import TrainingFailed, session, train

pytestmark = pytest.mark.slow


def _ignore(step: int, loss: float) -> None:
    pass


def _trainer(turbo: bool = True) -> AceStepTrainer:
    model = AceStep.load(resolve("starter", "ace_step_test", tiny.build), torch.device("cpu"), torch.float32)
    trainer = AceStepTrainer(model)
    trainer.turbo = turbo
    return trainer


def _recipe(trainer: AceStepTrainer, **changes: object) -> Recipe:
    return replace(trainer.recipe(60), **{"steps": 30, "batch": 2, "warmup": 3} | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("turbo", [True, False])
def test_the_loss_falls_and_the_model_is_unchanged(turbo: bool) -> None:
    trainer = _trainer(turbo)
    before = {name: value.clone() for name, value in trainer.model.adapted.state_dict().items()}
    audio = render(sample_song(np.random.default_rng(1), "techno"), 4, trainer.model.sample_rate)
    examples = [trainer.example(audio, Text("techno", bpm=130))]
    losses: list[float] = []
    pairs = train(trainer, trainer.model.adapted, examples, _recipe(trainer), lambda step, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < 0.85 * np.mean(losses[:5])
    assert all(pair.b.abs().max() > 0 for pair in pairs.values())
    after = trainer.model.adapted.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_the_same_seed_trains_the_same_adapter() -> None:
    trainer = _trainer()
    examples = [trainer.example(render(sample_song(np.random.default_rng(2)), 3, 48_000), Text("beat"))]
    one, same, other = (
        train(trainer, trainer.model.adapted, examples, _recipe(trainer, steps=3, seed=seed), _ignore)
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[name].b, same[name].b) for name in one)
    assert not all(torch.equal(one[name].a, other[name].a) for name in one)


def test_a_loss_that_is_not_finite_ends_training() -> None:
    trainer = _trainer()
    example = trainer.example(render(sample_song(np.random.default_rng(2)), 2, 48_000), Text("beat"))
    example["mean"][0, 3] = float("nan")
    with pytest.raises(TrainingFailed, match="nan at step 1; the audio or the checkpoint"):
        train(trainer, trainer.model.adapted, [example], _recipe(trainer, steps=3), _ignore)


def test_a_first_loss_that_is_too_high_ends_training() -> None:
    trainer = _trainer()
    example = trainer.example(render(sample_song(np.random.default_rng(2)), 2, 48_000), Text("beat"))
    example["mean"] *= 24_365
    with pytest.raises(TrainingFailed, match=r"the loss began at .*the audio or the checkpoint"):
        train(trainer, trainer.model.adapted, [example], _recipe(trainer, steps=3), _ignore)


def test_resumed_training_and_divided_batches_give_the_same_adapter() -> None:
    trainer = _trainer()
    examples = [trainer.example(render(sample_song(np.random.default_rng(2)), 3, 48_000), Text("beat")) for _ in "ab"]
    recipe = _recipe(trainer, steps=6, batch=4)
    whole = train(trainer, trainer.model.adapted, examples, recipe, _ignore)
    file = io.BytesIO()
    with session(trainer, trainer.model.adapted, recipe) as first:
        while first.step < 3:
            first.advance(examples)
        torch.save(first.state(), file)
        first.advance(examples)  # a step after the checkpoint is lost
    file.seek(0)
    with session(trainer, trainer.model.adapted, recipe) as second:
        second.restore(torch.load(file, weights_only=True))
        while second.step < recipe.steps:
            second.advance(examples)
        resumed = second.pairs()
    assert all(torch.equal(whole[name].b, resumed[name].b) for name in whole)

    # One example a pass, with gradient checkpointing, as when memory runs out.
    trainer.save_memory()
    with session(trainer, trainer.model.adapted, recipe) as small:
        small.examples_per_pass = 1
        while small.step < recipe.steps:
            small.advance(examples)
        divided = small.pairs()
    for name in whole:
        assert (whole[name].b - divided[name].b).abs().mean() < 0.01 * whole[name].b.abs().mean(), name


def test_the_same_example_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    trainer = _trainer()
    checkpoint = resolve("starter", "ace_step_test", tiny.build)
    made: list[Text] = []
    example = trainer.example

    def noted(audio: np.ndarray, text: Text) -> Example:
        made.append(text)
        return example(audio, text)

    monkeypatch.setattr(trainer, "example", noted)
    audio = render(sample_song(np.random.default_rng(2)), 2, 48_000)
    cache = ExampleCache(trainer, trainer.model, checkpoint)
    paths = [cache.add(audio, Text(text)) for text in ("a", "b", "a")]
    assert [text.prompt for text in made] == ["a", "b"] and paths[0] == paths[2] != paths[1]
    paths[1].write_bytes(b"half")
    assert ExampleCache(trainer, trainer.model, checkpoint).add(audio, Text("b")) == paths[1] and len(made) == 3
    read = Examples(paths)[1]
    assert all(torch.equal(read[name], tensor) for name, tensor in example(audio, Text("b")).items())
