"""Denoises rows of different lengths, steps, guidance, seeds and adapters together, each as if it were alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AceStepPipeline
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance

from adapters.batched_lora import Weights, blend
from models.ace_step import conditions, packed
from models.ace_step.layer import UNCOMPILED, LayerFunctions
from models.base import Interruptible, Row

# Parameters of the authors' adaptive projected guidance (APG).
_MOMENTUM = -0.75
_NORM_THRESHOLD = 2.5
_SHIFT = re.compile(r"shift[-_]?(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Defaults:
    """A checkpoint's sampling options, for requests that do not set them.

    Attributes:
        steps: Euler steps.
        shift: of the timesteps towards noise.
        guidance: classifier-free guidance scale; 1 is no guidance.
        guided: false for turbo checkpoints, into which guidance was distilled, so that they run without.
    """

    steps: int
    shift: float
    guidance: float
    guided: bool = True

    @classmethod
    def of(cls, turbo: bool, variant: str, own: Path) -> Defaults:
        """The checkpoint's own, and otherwise the authors' for its kind.

        Args:
            turbo: guidance was distilled into it.
            variant: its name, which tells the shift of a turbo checkpoint that was distilled for one.
            own: the checkpoint's `sampling.json`, which may be missing.
        """
        shift = _SHIFT.search(variant)
        kind = cls(8, float(shift[1]) if shift else 3.0, 1.0, guided=False) if turbo else cls(50, 1.0, 7.0)
        return cls(**{**vars(kind), **json.loads(own.read_text())}) if own.exists() else kind


def is_turbo(config: Mapping[str, Any], variant: str) -> bool:
    """Whether guidance was distilled into a checkpoint, by its `config.json`, or by its name if that does not say."""
    if config.get("is_turbo") or "turbo" in str(config.get("model_version")):
        return True
    return config.get("is_turbo") is None and config.get("model_version") is None and "turbo" in variant


class Run:
    """The state of a row that is being denoised.

    Attributes:
        latents: `[1, T, C]`.
        streams: its sequences through the transformer: the conditional, and with guidance the unconditional one.
        times: timesteps from 1 (noise) to 0, one more than there are steps.
        step: number of steps done.

    Args:
        weights: the merged weights of the row's adapters, by layer name.
    """

    @torch.inference_mode()
    def __init__(self, pipeline: AceStepPipeline, row: Row, defaults: Defaults, weights: Weights | None = None) -> None:
        transformer = pipeline.transformer
        length = conditions.frames(pipeline, row.seconds)
        condition = conditions.encode(pipeline, row.text, row.seconds)
        context = conditions.context(pipeline, length)
        pairs = blend(row.adapters)
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
        # Drawn on the CPU, so that a seed gives the same music on every device.
        self.latents = torch.randn(shape, generator=generator).to(transformer.device, transformer.dtype)
        self.step = 0

    @property
    def steps_left(self) -> int:
        return len(self.times) - 1 - self.step

    def advance(self, velocities: Sequence[torch.Tensor]) -> None:
        """Take an Euler step along the conditional and, with guidance, unconditional velocity, `[1, T, C]` each."""
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
        # `add` with `alpha` computes in single precision and rounds once.
        delta = self.times[self.step + 1] - self.times[self.step]
        self.latents = self.latents.add(velocity, alpha=delta).type_as(self.latents)
        self.step += 1


class Batch:
    """Runs that take their steps together. Each is at a step of its own."""

    @torch.inference_mode()
    def __init__(
        self,
        pipeline: AceStepPipeline,
        runs: Sequence[Run],
        functions: LayerFunctions = UNCOMPILED,
    ) -> None:
        self.runs = runs
        self.pack = packed.Pack(pipeline.transformer, [stream for run in runs for stream in run.streams], functions)
        # The timesteps of all steps to come, `[steps, streams]`, copied once: a copy to a GPU in each step would block.
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
        if device.type != "cpu":  # otherwise the queued steps would delay, and mistime, the next batch
            torch.accelerator.synchronize(device)


def steps(row: Row, defaults: Defaults) -> int:
    return row.options.steps or defaults.steps


def streams(row: Row, defaults: Defaults) -> int:
    """Number of sequences through the transformer in each step: 2 with guidance."""
    guidance = defaults.guidance if row.options.guidance is None else row.options.guidance
    return 2 if defaults.guided and guidance > 1 else 1
