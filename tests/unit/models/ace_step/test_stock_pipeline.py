"""Every task against diffusers' own pipeline, on the same weights, noise and recordings."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import AceStepPipeline
from diffusers.models.autoencoders.autoencoder_oobleck import OobleckDiagonalGaussianDistribution

from contract.tasks import Task
from models.ace_step import AceStep
from models.ace_step.sampling import Defaults
from models.base import Row, Text
from models.checkpoints import Checkpoint
from tests.random_adapters import random_adapter
from tests.unit.models.ace_step.support import EDITS, GUIDED, TARGETS, TURBO, as_kind, difference, latents, row, stock

MAX_DIFFERENCE = 2e-4


@pytest.fixture(scope="module")
def pipeline(checkpoint: Checkpoint) -> AceStepPipeline:
    return AceStepPipeline.from_pretrained(checkpoint.folder)


@pytest.fixture(autouse=True)
def no_random_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stock pipeline draws a source's latents from their posterior without a seed. Ours are its mean."""
    monkeypatch.setattr(OobleckDiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mean)


def _compare(model: AceStep, pipeline: AceStepPipeline, each: Row, defaults: Defaults) -> None:
    (ours,) = latents(as_kind(model, defaults), [each])
    theirs = stock(pipeline, each, defaults)
    assert ours.shape == theirs.shape
    assert difference(ours, theirs) <= MAX_DIFFERENCE


@pytest.mark.slow
@pytest.mark.parametrize("defaults", [TURBO, GUIDED], ids=["turbo", "guided"])
@pytest.mark.parametrize("task", ["repaint", "extend", "cover"])
def test_a_task(model: AceStep, pipeline: AceStepPipeline, task: Task, defaults: Defaults) -> None:
    _compare(model, pipeline, row(task, injected_share=0.0), defaults)


@pytest.mark.parametrize("task", ["lego", "extract", "complete"])
def test_a_task_of_base_checkpoints(model: AceStep, pipeline: AceStepPipeline, task: Task) -> None:
    _compare(model, pipeline, row(task), GUIDED)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["text", "cover", "repaint"])
@pytest.mark.parametrize("seconds", [12.0, 33.6])
def test_a_reference(model: AceStep, pipeline: AceStepPipeline, task: Task, seconds: float) -> None:
    each = row(task) if task == "text" else row(task, injected_share=0.0)
    reference = replace(row("text", reference=True), seconds=seconds).reference
    _compare(model, pipeline, replace(each, reference=reference), TURBO)


@pytest.mark.slow
@pytest.mark.parametrize("task", EDITS)
def test_a_twin(model: AceStep, pipeline: AceStepPipeline, task: Task) -> None:
    twin = random_adapter(model, 4, 3, TARGETS)
    each = row(task, injected_share=0.0) if task in ("repaint", "extend") else row(task)
    _compare(model, pipeline, replace(each, adapters=[(twin, 0.8)]), GUIDED)


def test_a_language(model: AceStep, pipeline: AceStepPipeline) -> None:
    sung = replace(row("text"), text=Text("house", "la la la", vocal_language="ja"))
    _compare(model, pipeline, sung, TURBO)
    (english,) = latents(model, [replace(sung, text=Text("house", "la la la"))])
    assert not torch.allclose(latents(model, [sung])[0], english, atol=1e-3)
