"""Denoising rows of different lengths, steps, guidance, seeds and adapters together, none aware of the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AceStepPipeline
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance

from models.ace_step import conditions, packed
from models.base import Row
from models.lora_rows import blend

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


class _State:
    """A row on its way from noise to music."""

    def __init__(self, pipeline: AceStepPipeline, row: Row, defaults: Defaults) -> None:
        transformer = pipeline.transformer
        length = conditions.frames(pipeline, row.seconds)
        condition = conditions.encode(pipeline, row.text, row.seconds)
        context = conditions.context(pipeline, length)
        pairs = blend(row.adapters)
        self.guidance = defaults.guidance if row.guidance is None else row.guidance
        self.streams = [packed.stream(transformer, context, condition, pairs)]
        if defaults.guided and self.guidance > 1:
            null = conditions.null(pipeline, condition)
            self.streams.append(packed.stream(transformer, context, null, pairs))
        self.momentum = MomentumBuffer(momentum=_MOMENTUM)
        times = torch.linspace(1, 0, (row.steps or defaults.steps) + 1)
        self.times = (defaults.shift * times / (1 + (defaults.shift - 1) * times)).tolist()
        generator = torch.Generator().manual_seed(row.seed)
        shape = (1, length, transformer.config.audio_acoustic_hidden_dim)
        # Drawn on the CPU, so that a seed means the same music on every device.
        self.latents = torch.randn(shape, generator=generator).to(transformer.device, transformer.dtype)
        self.step = 0

    @property
    def time(self) -> float:
        return float(self.times[self.step])

    @property
    def done(self) -> bool:
        return self.step == len(self.times) - 1

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
        delta = self.times[self.step + 1] - self.times[self.step]
        self.latents = (self.latents.float() + delta * velocity.float()).to(self.latents.dtype)
        self.step += 1


@torch.inference_mode()
def sample(pipeline: AceStepPipeline, rows: Sequence[Row], defaults: Defaults) -> list[torch.Tensor | Exception]:
    """Latents `[1, T, C]` of every row, in order; a row that cannot be prepared is its exception."""
    states: list[_State | Exception] = []
    for row in rows:
        try:
            states.append(_State(pipeline, row, defaults))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one row is that row's answer
            states.append(error)
    running = [state for state in states if isinstance(state, _State)]
    pack: packed.Pack | None = None
    while running:
        if pack is None:
            pack = packed.Pack(pipeline.transformer, [stream for state in running for stream in state.streams])
        latents = [state.latents for state in running for _ in state.streams]
        times = [state.time for state in running for _ in state.streams]
        outputs = iter(pack.velocities(latents, times))
        for state in running:
            state.advance([next(outputs) for _ in state.streams])
        left = [state for state in running if not state.done]
        if len(left) < len(running):
            running, pack = left, None
    return [state.latents if isinstance(state, _State) else state for state in states]
