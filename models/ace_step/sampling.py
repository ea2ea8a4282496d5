"""Denoising rows of different lengths, steps, guidance, seeds and adapters together, none aware of the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AceStepPipeline
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance

from adapters.lora_rows import blend, changed
from models.ace_step import conditions, packed
from models.ace_step.layer import PLAIN, Parts
from models.base import Interruptible, Row

# The authors' adaptive projected guidance: momentum, and the largest norm of an update.
_MOMENTUM = -0.75
_NORM_THRESHOLD = 2.5


@dataclass(frozen=True)
class Defaults:
    """How a checkpoint samples where the request does not say.

    Attributes:
        steps: Euler steps.
        shift: of the timesteps towards noise.
        guidance: 1 means none.
        guided: false for turbo checkpoints, into which guidance was distilled; more of it would be too much.
    """

    steps: int
    shift: float
    guidance: float
    guided: bool = True

    @classmethod
    def of(cls, pipeline: AceStepPipeline, folder: Path) -> Defaults:
        """A checkpoint's own `sampling.json` if it has one, otherwise the authors' values for its kind."""
        kind = cls(8, 3.0, 1.0, guided=False) if pipeline.is_turbo else cls(30, 1.0, 7.0)
        own = folder / "sampling.json"
        return cls(**{**vars(kind), **json.loads(own.read_text())}) if own.exists() else kind


class Run:
    """A row on its way from noise to music.

    Attributes:
        latents: `[1, T, C]`.
        streams: what goes through the transformer for it: with the condition, and where it is guided without.
        times: from 1 to 0, one more than there are steps.
        step: how many are done.
    """

    @torch.inference_mode()
    def __init__(self, pipeline: AceStepPipeline, row: Row, defaults: Defaults) -> None:
        transformer = pipeline.transformer
        length = conditions.frames(pipeline, row.seconds)
        condition = conditions.encode(pipeline, row.text, row.seconds)
        context = conditions.context(pipeline, length)
        pairs, weights = blend(row.adapters), changed(transformer, row.adapters)
        options = row.options
        self.guidance = defaults.guidance if options.guidance is None else options.guidance
        self.streams = [packed.stream(transformer, context, condition, pairs, weights)]
        if streams(row, defaults) == 2:
            null = conditions.null(pipeline, condition)
            self.streams.append(packed.stream(transformer, context, null, pairs, weights))
        self.momentum = MomentumBuffer(momentum=_MOMENTUM)
        times = np.linspace(1, 0, steps(row, defaults) + 1, dtype=np.float32)
        shift = defaults.shift if options.shift is None else options.shift
        self.times: list[float] = (shift * times / (1 + (shift - 1) * times)).tolist()
        generator = torch.Generator().manual_seed(options.seed)
        shape = (1, length, transformer.config.audio_acoustic_hidden_dim)
        # Drawn on the CPU, so that a seed means the same music on every device.
        self.latents = torch.randn(shape, generator=generator).to(transformer.device, transformer.dtype)
        self.step = 0

    @property
    def steps_left(self) -> int:
        return len(self.times) - 1 - self.step

    def advance(self, velocities: Sequence[torch.Tensor]) -> None:
        """One Euler step along the (guided) velocity, `[1, T, C]` each: conditional, then unconditional."""
        velocity = velocities[0]
        if len(velocities) == 2:
            velocity = normalized_guidance(
                pred_cond=velocities[0],
                pred_uncond=velocities[1],
                guidance_scale=self.guidance - 1,
                momentum_buffer=self.momentum,
                eta=0.0,
                norm_threshold=_NORM_THRESHOLD,
                use_original_formulation=True,
                norm_dim=(1,),
            )
        # Computed in single precision, and rounded once.
        delta = self.times[self.step + 1] - self.times[self.step]
        self.latents = self.latents.add(velocity, alpha=delta).type_as(self.latents)
        self.step += 1


class Batch:
    """Runs that share their steps, wherever each of them is on its way."""

    @torch.inference_mode()
    def __init__(
        self,
        pipeline: AceStepPipeline,
        runs: Sequence[Run],
        parts: Parts = PLAIN,
    ) -> None:
        self.runs = runs
        self.pack = packed.Pack(pipeline.transformer, [stream for run in runs for stream in run.streams], parts)
        # Of each step from here on, `[steps, streams]`: a copy for each of them would be waited for. A run that has
        # ended is asked for no more.
        steps = range(max(run.steps_left for run in runs))
        times = [
            [run.times[min(run.step + step, len(run.times) - 1)] for run in runs for _ in run.streams] for step in steps
        ]
        self._times = torch.tensor(times).to(runs[0].latents.device)
        self._taken = 0

    @torch.inference_mode()
    def step(self) -> Interruptible:
        latents = [run.latents for run in self.runs for _ in run.streams]
        velocities = iter((yield from self.pack.forward(latents, self._times[self._taken])))
        self._taken += 1
        for run in self.runs:
            run.advance([next(velocities) for _ in run.streams])
        device = self.runs[0].latents.device
        if device.type != "cpu":  # a thread that runs ahead of its device cannot be overtaken by who comes next
            torch.accelerator.synchronize(device)


def steps(row: Row, defaults: Defaults) -> int:
    return row.options.steps or defaults.steps


def streams(row: Row, defaults: Defaults) -> int:
    """How often the row goes through the transformer in each step."""
    guidance = defaults.guidance if row.options.guidance is None else row.options.guidance
    return 2 if defaults.guided and guidance > 1 else 1
