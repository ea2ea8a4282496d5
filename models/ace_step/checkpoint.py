"""Loads an ACE-Step checkpoint."""

from __future__ import annotations

import torch
from diffusers import AceStepPipeline
from diffusers.utils import logging

from models.ace_step.layer import fuse_norms
from models.ace_step.snake import use_fast_snake
from models.ace_step.timbre import SilentTimbre
from models.checkpoints import Checkpoint, CheckpointError
from models.convolutions import guard_convolutions


def load(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> AceStepPipeline:
    """Load the pipeline, frozen, with faster modules that compute the same.

    Raises:
        CheckpointError: the folder holds no ACE-Step pipeline that diffusers can load.
    """
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
    pipeline.text_encoder.config.use_cache = False  # prompts are encoded in one pass
    fuse_norms(pipeline.transformer)
    fuse_norms(pipeline.condition_encoder)
    pipeline.condition_encoder.timbre_encoder = SilentTimbre(pipeline)
    return pipeline
