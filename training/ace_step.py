"""The trainer of ACE-Step: flow matching on cached latents and conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.ace_step import codec, conditions, packed
from models.ace_step.model import AceStep
from models.base import Text, run_to_end
from models.device import send
from training.base import Example, Prediction, Recipe, steps_for

TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "gate_proj", "up_proj", "down_proj")
# The authors' learning rate at width 2048. The best rate falls as the width grows; it is 2e-3 at width 256.
_RATE, _WIDTH, _MAX_RATE = 1e-4, 2048, 2e-3
# Longer clips are trained on in random windows of this length.
_WINDOW_SECONDS = 30.0
# Base checkpoints: the authors' logit-normal times, and the dropout of the condition for classifier-free guidance.
_LOGIT_MEAN, _LOGIT_DEVIATION, _CONDITION_DROPOUT = -0.4, 1.0, 0.15


@dataclass(frozen=True)
class Flow:
    """An example at a time, each `[1, T, C]`: its latents x0, x_t, and the velocity there, as it is and predicted."""

    latents: torch.Tensor
    noisy: torch.Tensor
    target: torch.Tensor
    velocity: torch.Tensor


class AceStepTrainer:
    """Implements `training.base.Trainer` with the loss of the authors' trainer, on the transformer that serves."""

    def __init__(self, model: AceStep) -> None:
        self.model = model
        self.turbo = bool(model.pipeline.is_turbo)

    def recipe(self, seconds: float) -> Recipe:
        hidden = self.model.pipeline.transformer.config.hidden_size
        steps = steps_for(seconds, self.model.backend)
        rate = min(_MAX_RATE, _RATE * (_WIDTH / hidden) ** 1.5)
        return Recipe(
            steps=steps, batch=4, rank=16, alpha=32, targets=TARGETS, learning_rate=rate, warmup=min(100, steps // 10)
        )

    @torch.no_grad()
    def example(self, audio: NDArray[np.float32], text: Text) -> Example:
        pipeline = self.model.pipeline
        mean, deviation = run_to_end(codec.posterior(pipeline.vae, audio, self.model.device))
        return {
            "mean": mean.float(),
            "deviation": deviation.float(),
            "condition": conditions.encode(pipeline, text, audio.shape[1] / self.model.sample_rate),
        }

    def losses(self, examples: Sequence[Example], generators: Sequence[torch.Generator]) -> torch.Tensor:
        """The mean squared error of the velocity at x_t = t · noise + (1 − t) · x0, whose target is noise − x0."""
        flows = self.flows(examples, generators)
        return torch.stack([(flow.velocity.float() - flow.target).square().mean() for flow in flows])

    @torch.no_grad()
    def predictions(
        self, examples: Sequence[Example], generators: Sequence[torch.Generator], time: float
    ) -> list[Prediction]:
        """The estimates x_t − t · velocity of the examples' latents at one time t for all."""
        return [
            Prediction(flow.latents[0].cpu(), (flow.noisy.float() - time * flow.velocity.float())[0].cpu())
            for flow in self.flows(examples, generators, time)
        ]

    def flows(
        self, examples: Sequence[Example], generators: Sequence[torch.Generator], time: float | None = None
    ) -> list[Flow]:
        """The model's velocity for each example, at a drawn time, or at `time` without dropout of the condition."""
        pipeline = self.model.pipeline
        transformer = pipeline.transformer
        contexts, texts, latents, noisy, targets, times = [], [], [], [], [], []
        for example, generator in zip(examples, generators, strict=True):
            x0, start = self._window(example, generator)
            t = self._time(generator) if time is None else time
            noise = send(torch.randn(x0.shape, generator=generator), x0.device)
            condition = send(example["condition"], self.model.device)
            drops = time is None and not self.turbo
            if drops and torch.rand((), generator=generator) < _CONDITION_DROPOUT:
                condition = conditions.null(pipeline, condition)
            contexts.append(conditions.context(pipeline, start + x0.shape[1])[:, start:])
            texts.append(condition)
            latents.append(x0)
            noisy.append((t * noise + (1 - t) * x0).to(self.model.dtype))
            targets.append(noise - x0)
            times.append(t)
        velocities = packed.Pack(transformer, packed.streams(transformer, contexts, texts)).velocities(noisy, times)
        return [Flow(*parts) for parts in zip(latents, noisy, targets, velocities, strict=True)]

    def save_memory(self) -> None:
        self.model.pipeline.transformer.enable_gradient_checkpointing()

    def _window(self, example: Example, generator: torch.Generator) -> tuple[torch.Tensor, int]:
        """Latents `[1, T, C]` of a random window of the clip, sampled from the VAE's posterior, and the first frame."""
        device = self.model.device
        mean, deviation = send(example["mean"], device), send(example["deviation"], device)
        length = min(mean.shape[1], conditions.frames(self.model.pipeline, _WINDOW_SECONDS))
        start = int(torch.randint(mean.shape[1] - length + 1, (), generator=generator))
        draw = send(torch.randn((1, length, mean.shape[2]), generator=generator), device)
        span = slice(start, start + length)
        return mean[:, span] + deviation[:, span] * draw, start

    def _time(self, generator: torch.Generator) -> float:
        if self.turbo:
            # Turbo checkpoints know only the times of their own sampling steps.
            steps, shift = self.model.defaults.steps, self.model.defaults.shift
            step = 1 - int(torch.randint(steps, (), generator=generator)) / steps
            return shift * step / (1 + (shift - 1) * step)
        draw = torch.randn((), generator=generator) * _LOGIT_DEVIATION + _LOGIT_MEAN
        return float(torch.sigmoid(draw))
