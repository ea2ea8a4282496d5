"""ACE-Step as a `Model`."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from diffusers import AceStepPipeline
from numpy.typing import NDArray

from adapters.batched_lora import batch_key, check_adapters
from models.ace_step import conditions, sampling
from models.ace_step.checkpoint import load
from models.ace_step.decoding import decode
from models.ace_step.layer import UNCOMPILED, LayerFunctions
from models.ace_step.sampling import Batch, Defaults, Run
from models.base import Model, Plan, Row, run_to_end
from models.checkpoints import Checkpoint
from models.compilation import compile_function
from models.loudness import normalise
from models.memory import WHOLE, MemoryMode
from models.traits import DEFAULT_TRAITS, Traits

# diffusers' name → the original model's name, which adapter files use.
_ORIGINAL_NAMES = {".to_q": ".q_proj", ".to_k": ".k_proj", ".to_v": ".v_proj", ".to_out.0": ".o_proj"}
# The cost of a step beyond its tokens, in tokens: kernel launches, reading the weights. The scheduler starts with these
# estimates.
_OVERHEAD = {"cpu": 40.0}
_OVERHEAD_ON_GPU = 2500.0


class AceStep(Model[Run]):
    """A loaded ACE-Step 1.5 checkpoint."""

    backend: ClassVar[str] = "ace_step"

    def __init__(self, pipeline: AceStepPipeline, defaults: Defaults, traits: Traits = DEFAULT_TRAITS) -> None:
        self.pipeline = pipeline
        self.defaults = defaults
        self.traits = traits
        self._functions = UNCOMPILED
        self.sample_rate: int = pipeline.sample_rate
        self.channels: int = pipeline.vae.config.audio_channels

    @classmethod
    def load(cls, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, memory: MemoryMode = WHOLE) -> Self:
        pipeline, parts = load(checkpoint, device, dtype, memory)
        return cls(
            pipeline, Defaults.of(bool(pipeline.is_turbo), parts.variant, parts.sampling), Traits.of(checkpoint.folder)
        )

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
        for diffusers, original in _ORIGINAL_NAMES.items():
            if module.endswith(diffusers):
                return module.removesuffix(diffusers) + original
        return module

    @property
    def overhead(self) -> float:
        return _OVERHEAD.get(self.device.type, _OVERHEAD_ON_GPU)

    def plan(self, row: Row) -> Plan:
        check_adapters(self.adapted, row.adapters)
        tokens = -(-conditions.frames(self.pipeline, row.seconds) // self.pipeline.transformer.patch_size)
        return Plan(
            steps=sampling.steps(row, self.defaults),
            cost=tokens * sampling.streams(row, self.defaults),
            batch_key=batch_key(row.adapters),
        )

    def begin(self, row: Row) -> Run:
        return Run(self.pipeline, row, self.defaults, self.merged.get(row.adapters))

    def batch(self, runs: Sequence[Run]) -> Batch:
        return Batch(self.pipeline, runs, self._functions)

    def compile(self) -> None:
        before, between, after = UNCOMPILED
        self._functions = LayerFunctions(compile_function(before), compile_function(between), compile_function(after))

    def finish(self, run: Run, row: Row) -> Generator[None, None, NDArray[np.float32]]:
        if not torch.isfinite(run.latents).all():
            raise FloatingPointError("the model made values that are not finite")
        # Rows are decoded one at a time: padding to one length would be audible at the end.
        audio = yield from decode(self.pipeline.vae, run.latents)
        samples: NDArray[np.float32] = audio[:, : round(row.seconds * self.sample_rate)].float().cpu().numpy()
        return normalise(samples)

    @torch.inference_mode()
    def reconstruct(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        vae = self.pipeline.vae
        wave = torch.from_numpy(np.ascontiguousarray(audio))[None].to(self.device, vae.dtype)
        latents = vae.encode(wave).latent_dist.mean.transpose(1, 2)
        decoded: NDArray[np.float32] = run_to_end(decode(vae, latents)).float().cpu().numpy()
        return decoded[:, : audio.shape[1]]

    def response(self, row: Row) -> Generator[None, None, torch.Tensor]:
        """The latents after one step."""
        run = self.begin(row)
        yield from self.batch([run]).step()
        return run.latents
