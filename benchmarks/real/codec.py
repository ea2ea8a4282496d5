"""Music through a backend's codec alone: the most that a twin of that backend could keep of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from models.ace_step.decoding import decode as decode_latents
from models.base import run_to_end
from models.musicgen import codec
from training.evaluation.audio_measures import Audio


def through_codec(model: Any) -> Callable[[Audio], Audio]:
    """The round trip of mono audio at the model's rate."""
    round_trip = {"ace_step": _ace_step, "musicgen": _musicgen}[model.backend]

    def reconstruct(audio: Audio) -> Audio:
        made = round_trip(model, np.repeat(audio[None], model.channels, axis=0)).mean(axis=0)
        return made[: len(audio)].astype(np.float32)

    return reconstruct


@torch.inference_mode()
def _ace_step(model: Any, audio: Audio) -> Audio:
    vae = model.pipeline.vae
    latents = vae.encode(torch.from_numpy(audio)[None]).latent_dist.mean
    made: Audio = run_to_end(decode_latents(vae, latents.transpose(1, 2))).numpy()
    return made


def _musicgen(model: Any, audio: Audio) -> Audio:
    made: Audio = run_to_end(codec.decode(model.codec, codec.encode(model.codec, audio), model.channels))
    return made
