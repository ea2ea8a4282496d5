"""The timbre that a track follows: one token of the condition, from a reference recording or from silence."""

from __future__ import annotations

import hashlib
import math
from contextlib import suppress
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import AceStepPipeline
from diffusers.pipelines.ace_step import AceStepConditionEncoder
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from core.whole_files import replacing
from models.local_cache import cache_folder

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

    Silence is the checkpoint's `silence_latent`, with which the model was trained, not zeros. On a CPU, where it takes
    seconds for 30 s of frames, later processes find the timbre in the cache.
    """
    encoder = pipeline.condition_encoder
    length = math.ceil(REFERENCE_SECONDS * pipeline.latents_per_second)
    silence = encoder.silence_latent[:, :length]
    file = _file_of(encoder, silence) if silence.device.type == "cpu" else None
    timbre = None if file is None else _read(file)
    if timbre is None:
        timbre = timbre_of(pipeline, silence)
        if file is not None:
            with suppress(OSError), replacing(file) as new:  # without the file it is only slower
                new.write(save({"timbre": timbre}))
    encoder.register_buffer("silent_timbre", timbre, persistent=False)


def _file_of(encoder: AceStepConditionEncoder, silence: Tensor) -> Path:
    """The file of the timbre that these weights and libraries compute of silence."""
    settings = sorted(encoder.config.items(), key=repr)
    digest = hashlib.sha256(f"{diffusers.__version__} {torch.__version__} {settings}".encode())
    for name, tensor in {**encoder.timbre_encoder.state_dict(), "silence": silence}.items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return cache_folder() / "timbres" / f"{digest.hexdigest()}.safetensors"


def _read(file: Path) -> Tensor | None:
    """The timbre in the file, None if there is none, or it is damaged."""
    with suppress(OSError, SafetensorError, KeyError):
        return load_file(file)["timbre"]
    return None
