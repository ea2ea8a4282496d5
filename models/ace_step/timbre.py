"""The timbre that a track follows: one token of the condition, from a reference recording or from silence."""

from __future__ import annotations

import math

import numpy as np
import torch
from diffusers import AceStepPipeline
from numpy.typing import NDArray
from torch import Tensor

_PART_SECONDS = 10
_PARTS = 3
REFERENCE_SECONDS = _PARTS * _PART_SECONDS


def excerpt(recording: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """10 s each of the front, middle and back of `[channels, samples]`. A shorter recording is repeated."""
    part = _PART_SECONDS * sample_rate
    repeats = math.ceil(_PARTS * part / recording.shape[1])
    recording = np.tile(recording, repeats)
    middle = recording.shape[1] // _PARTS
    return np.concatenate(
        [recording[:, :part], recording[:, middle : middle + part], recording[:, recording.shape[1] - part :]], axis=1
    )


@torch.no_grad()
def timbre_of(pipeline: AceStepPipeline, latents: Tensor) -> Tensor:
    """The timbre `[1, 1, D]` of an excerpt's latents `[1, T, C]`."""
    encoder = pipeline.condition_encoder
    owner = torch.zeros(1, dtype=torch.long, device=encoder.device)
    token: Tensor = encoder.timbre_encoder(latents.to(encoder.device, encoder.dtype), owner)[0]
    return token


def keep_silent_timbre(pipeline: AceStepPipeline) -> None:
    """Encode the timbre of silence once, as `condition_encoder.silent_timbre`.

    Silence is the checkpoint's `silence_latent`, with which the model was trained, not zeros.
    """
    encoder = pipeline.condition_encoder
    length = math.ceil(REFERENCE_SECONDS * pipeline.latents_per_second)
    encoder.register_buffer("silent_timbre", timbre_of(pipeline, encoder.silence_latent[:, :length]), persistent=False)
