"""ACE-Step as a `Model`: load, generate, and what training needs to know."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from diffusers import AceStepPipeline
from diffusers.utils import logging
from numpy.typing import NDArray

from adapters.batched_lora import batch_key, check
from models.ace_step import conditions, sampling
from models.ace_step.decoding import decode
from models.ace_step.layer import PLAIN, Parts, fuse_norms
from models.ace_step.sampling import Batch, Defaults, Run
from models.ace_step.snake import use_fast_snake
from models.ace_step.timbre import SilentTimbre
from models.base import Model, Plan, Row
from models.checkpoints import Checkpoint, CheckpointError
from models.compiled import compiled
from models.kernels import guard_convolutions
from models.loudness import normalise

# The names that the original model gives to what diffusers renamed; adapter files use the original's.
_ORIGINAL = {".to_q": ".q_proj", ".to_k": ".k_proj", ".to_v": ".v_proj", ".to_out.0": ".o_proj"}
# What a step costs beyond its tokens, in tokens: launching it, reading the weights, gathering rows. The
# scheduler begins with these estimates.
_OVERHEAD = {"cpu": 40.0}
_OVERHEAD_ELSEWHERE = 2500.0


class AceStep(Model[Run]):
    """A loaded ACE-Step 1.5 checkpoint."""

    backend: ClassVar[str] = "ace_step"

    def __init__(self, pipeline: AceStepPipeline, defaults: Defaults) -> None:
        self.pipeline = pipeline
        self.defaults = defaults
        self._parts = PLAIN
        self.sample_rate: int = pipeline.sample_rate
        self.channels: int = pipeline.vae.config.audio_channels

    @classmethod
    def load(cls, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Self:
        logging.disable_progress_bar()
        try:
            pipeline = AceStepPipeline.from_pretrained(checkpoint.folder, dtype=dtype)
        except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise CheckpointError(f"{checkpoint.name}: not an ACE-Step checkpoint: {reason}") from error
        pipeline.to(device)
        for part in (pipeline.vae, pipeline.text_encoder, pipeline.condition_encoder, pipeline.transformer):
            part.requires_grad_(False).eval()
        use_fast_snake(pipeline.vae)
        guard_convolutions(pipeline.vae)
        pipeline.text_encoder.config.use_cache = False  # a prompt is read once
        fuse_norms(pipeline.transformer)
        fuse_norms(pipeline.condition_encoder)
        pipeline.condition_encoder.timbre_encoder = SilentTimbre(pipeline)
        return cls(pipeline, Defaults.of(pipeline, checkpoint.folder))

    @property
    def device(self) -> torch.device:
        device: torch.device = self.pipeline.transformer.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.pipeline.transformer.dtype
        return dtype

    @property
    def adapted(self) -> torch.nn.Module:
        transformer: torch.nn.Module = self.pipeline.transformer
        return transformer

    def file_name(self, module: str) -> str:
        for ours, original in _ORIGINAL.items():
            if module.endswith(ours):
                return module.removesuffix(ours) + original
        return module

    @property
    def overhead(self) -> float:
        return _OVERHEAD.get(self.device.type, _OVERHEAD_ELSEWHERE)

    def plan(self, row: Row) -> Plan:
        check(self.adapted, row.adapters)
        tokens = -(-conditions.frames(self.pipeline, row.seconds) // self.pipeline.transformer.patch_size)
        return Plan(
            steps=sampling.steps(row, self.defaults),
            cost=tokens * sampling.streams(row, self.defaults),
            batch_key=batch_key(row.adapters),
        )

    def begin(self, row: Row) -> Run:
        return Run(self.pipeline, row, self.defaults)

    def batch(self, runs: Sequence[Run]) -> Batch:
        return Batch(self.pipeline, runs, self._parts)

    def compile(self) -> None:
        self._parts = Parts(compiled(PLAIN.into), compiled(PLAIN.between), compiled(PLAIN.after))

    def finish(self, run: Run, row: Row) -> Generator[None, None, NDArray[np.float32]]:
        if not torch.isfinite(run.latents).all():
            raise FloatingPointError("the model made values that are not finite")
        # Each row alone: a padded tail would be heard at the edge.
        audio = yield from decode(self.pipeline.vae, run.latents)
        samples: NDArray[np.float32] = audio[:, : round(row.seconds * self.sample_rate)].float().cpu().numpy()
        return normalise(samples)

    def response(self, row: Row) -> Generator[None, None, torch.Tensor]:
        """The latents after one step."""
        run = self.begin(row)
        yield from self.batch([run]).step()
        return run.latents
