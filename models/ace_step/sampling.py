"""Denoises rows of different lengths, steps, guidance, seeds and adapters together, each as if it were alone."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AceStepPipeline
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance
from torch import Tensor

from adapters.batched_lora import Weights, blend
from models.ace_step import conditions, packed, tasks
from models.ace_step.injection import Injection, noised
from models.ace_step.layer import UNCOMPILED, LayerFunctions
from models.ace_step.recordings import NO_RECORDINGS, Encoded
from models.base import Edit, Interruptible, Row
from models.device import placement

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
        source_guided: whether guidance leads a cover away from silence in its source's place too, and not only from the
            unconditional embedding in its prompt's place, as in diffusers.
        noise_strength: of covers that do not set it, at strength 1; in proportion to their strength below.
    """

    steps: int
    shift: float
    guidance: float
    guided: bool = True
    source_guided: bool = False
    noise_strength: float = 0.0

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


@dataclass(frozen=True)
class Condition:
    """The sequences of a row, which do not depend on its seed.

    Attributes:
        edited: of the steps that are conditioned on the source: conditional and, with guidance, unconditional.
        text: of the steps that are conditioned on the text alone.
    """

    edited: Sequence[packed.Stream] = ()
    text: Sequence[packed.Stream] = ()

    @classmethod
    def of(
        cls, pipeline: AceStepPipeline, row: Row, defaults: Defaults, weights: Weights | None, encoded: Encoded
    ) -> Condition:
        """Encode the row's condition, blend its adapters, and prepare the sequences that its steps need."""
        edit, pairs = row.edit, blend(row.adapters)
        steps = len(times(row, defaults)) - 1
        edited = edited_steps(edit, steps)

        def prepared(context: Tensor, unconditional_context: Tensor, instruction: str) -> list[packed.Stream]:
            """The conditional stream, and with guidance the unconditional one."""
            condition = conditions.encode(pipeline, row.text, row.seconds, instruction, encoded.timbre)
            both = ((context, condition), (unconditional_context, conditions.null(pipeline, condition)))
            return [
                packed.stream(pipeline.transformer, *each, pairs, weights) for each in both[: streams(row, defaults)]
            ]

        silent = conditions.context(pipeline, conditions.frames(pipeline, row.seconds))
        edited_streams: Sequence[packed.Stream] = ()
        text_streams: Sequence[packed.Stream] = ()
        if edit and edited:
            is_cover = edit.task == "cover"
            latents = encoded.structure if is_cover else encoded.source
            assert latents is not None
            context = tasks.context(pipeline, edit, latents)
            unconditional = silent if is_cover and defaults.source_guided else context
            edited_streams = prepared(context, unconditional, tasks.instruction(edit))
        if edited < steps:
            text_streams = prepared(silent, silent, conditions.TEXT_TO_MUSIC)
        return cls(edited_streams, text_streams)


class Run:
    """The state of a row that is being denoised.

    Attributes:
        latents: `[1, T, C]`.
        times: timesteps from 1 (noise) to 0, one more than there are steps.
        step: number of steps done.
        encoded: the row's recordings.

    Args:
        weights: the merged weights of the row's adapters, by layer name.
    """

    @torch.inference_mode()
    def __init__(
        self,
        pipeline: AceStepPipeline,
        row: Row,
        defaults: Defaults,
        weights: Weights | None = None,
        encoded: Encoded = NO_RECORDINGS,
    ) -> None:
        transformer = pipeline.transformer
        edit, options = row.edit, row.options
        length = conditions.frames(pipeline, row.seconds)
        self.guidance = defaults.guidance if options.guidance is None else options.guidance
        self.momentum = MomentumBuffer(momentum=_MOMENTUM)
        self.times = times(row, defaults)
        self.step = 0
        self.encoded = encoded
        generator = torch.Generator().manual_seed(options.seed)
        shape = (1, length, transformer.config.audio_acoustic_hidden_dim)
        # Drawn on the CPU, so that a seed gives the same music on every device.
        noise = torch.randn(shape, generator=generator).to(*placement(transformer))
        self.latents = noise
        steps = len(self.times) - 1
        self._edited_steps = edited_steps(edit, steps)
        self._condition = row.condition(lambda: Condition.of(pipeline, row, defaults, weights, encoded))
        self._injection: Injection | None = None
        if noise_strength(edit, defaults) > 0:
            assert encoded.source is not None
            self.latents = noised(encoded.source, noise, self.times[0])
        if edit and edit.keeps_outside and edit.injected_share > 0:
            assert encoded.source is not None
            windows = tasks.windows(edit, length, pipeline.latents_per_second)
            self._injection = Injection(encoded.source, noise, windows, round(steps * edit.injected_share))

    @property
    def steps_left(self) -> int:
        return len(self.times) - 1 - self.step

    @property
    def streams(self) -> Sequence[packed.Stream]:
        """The sequences through the transformer in the next step: conditional and, with guidance, unconditional."""
        return self._condition.edited if self.step < self._edited_steps else self._condition.text

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
        if self._injection:
            self.latents = self._injection.apply(self.latents, self.step, self.times[self.step])


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
        self._transformer, self._functions = pipeline.transformer, functions
        self._streams = self._next_streams()
        self.pack = packed.Pack(self._transformer, self._streams, functions)
        # The timesteps of all steps to come, `[steps, streams]`, copied once: a copy to a GPU in each step would block.
        steps = range(max(run.steps_left for run in runs))
        times = [
            [run.times[min(run.step + step, len(run.times) - 1)] for run in runs for _ in run.streams] for step in steps
        ]
        self._times = torch.tensor(times).to(runs[0].latents.device)
        self._taken = 0

    @torch.inference_mode()
    def step(self) -> Interruptible:
        streams = self._next_streams()
        if any(now is not before for now, before in zip(streams, self._streams, strict=True)):
            self.pack, self._streams = packed.Pack(self._transformer, streams, self._functions), streams
        latents = [run.latents for run in self.runs for _ in run.streams]
        velocities = iter((yield from self.pack.forward(latents, self._times[self._taken])))
        self._taken += 1
        for run in self.runs:
            run.advance([next(velocities) for _ in run.streams])
        device = self.runs[0].latents.device
        if device.type != "cpu":  # otherwise the queued steps would delay, and mistime, the next batch
            torch.accelerator.synchronize(device)

    def _next_streams(self) -> list[packed.Stream]:
        """The sequences of the next step; those of a run change where a cover leaves its source."""
        return [stream for run in self.runs for stream in run.streams]


def times(row: Row, defaults: Defaults) -> list[float]:
    """The row's timesteps from 1 (noise) to 0. A cover that starts from its source has only the last of them."""
    shift = defaults.shift if row.options.shift is None else row.options.shift
    even = np.linspace(1, 0, (row.options.steps or defaults.steps) + 1, dtype=np.float32)
    result: list[float] = (shift * even / (1 + (shift - 1) * even)).tolist()
    if strength := noise_strength(row.edit, defaults):
        level = 1 - strength
        result = result[min(range(len(result) - 1), key=lambda step: abs(result[step] - level)) :]
    return result


def noise_strength(edit: Edit | None, defaults: Defaults) -> float:
    """How near to its source a row starts: 0 from noise, 1 from the source. Only a cover starts from its source."""
    if edit is None or edit.task != "cover":
        return 0.0
    return defaults.noise_strength * edit.strength if edit.noise_strength is None else edit.noise_strength


def edited_steps(edit: Edit | None, steps: int) -> int:
    """The number of steps that are conditioned on the source. A cover leaves it when its share of them is done."""
    if edit is None:
        return 0
    # Rounded first, so that no rounding error takes a step away.
    return math.floor(round(steps * edit.strength, 6)) if edit.task == "cover" else steps


def streams(row: Row, defaults: Defaults) -> int:
    """Number of sequences through the transformer in each step: 2 with guidance."""
    guidance = defaults.guidance if row.options.guidance is None else row.options.guidance
    return 2 if defaults.guided and guidance > 1 else 1
