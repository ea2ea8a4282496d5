"""ACE-Step as a `Model`: load, generate, and what training needs to know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from diffusers import AceStepPipeline
from diffusers.utils import logging
from numpy.typing import NDArray

from models.ace_step.sampling import Defaults, sample
from models.base import Row, Track
from models.checkpoints import Checkpoint, CheckpointError
from models.loudness import normalise

# The names that the original model gives to what diffusers renamed; adapter files use the original's.
_ORIGINAL = {".to_q": ".q_proj", ".to_k": ".k_proj", ".to_v": ".v_proj", ".to_out.0": ".o_proj"}
# Above this the decoder works in tiles, since its memory grows with the length.
_TILED_SECONDS = 60.0


class AceStep:
    """A loaded ACE-Step 1.5 checkpoint."""

    backend: ClassVar[str] = "ace_step"

    def __init__(self, pipeline: AceStepPipeline, defaults: Defaults) -> None:
        self.pipeline = pipeline
        self.defaults = defaults
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

    def generate(self, rows: Sequence[Row]) -> list[Track]:
        latents = sample(self.pipeline, rows, self.defaults)
        return [
            result if isinstance(result, Exception) else self._decode(result, row.seconds)
            for row, result in zip(rows, latents, strict=True)
        ]

    @torch.inference_mode()
    def _decode(self, latents: torch.Tensor, seconds: float) -> Track:
        """`[1, T, C]` to audio. Each row alone: a padded tail would be heard at the edge."""
        vae = self.pipeline.vae
        try:
            if not torch.isfinite(latents).all():
                raise FloatingPointError("the model made values that are not finite")
            vae.use_tiling = seconds > _TILED_SECONDS
            audio: NDArray[np.float32] = vae.decode(latents.transpose(1, 2)).sample[0].float().cpu().numpy()
            return normalise(audio[:, : round(seconds * self.sample_rate)])
        except Exception as error:  # noqa: BLE001 - one row's failure is its own answer
            return error
