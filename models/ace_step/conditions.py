"""Encodes text to the condition that the transformer attends to, in training and in generation."""

from __future__ import annotations

import math

import torch
from diffusers import AceStepPipeline
from torch import Tensor

from models.base import Text
from models.device import placement

# The lyrics of instrumental music in ACE-Step's training data.
INSTRUMENTAL = "[Instrumental]"
_DEFAULT_LANGUAGE = "en"
# The instruction of the authors' training data for music from text alone.
TEXT_TO_MUSIC = "Fill the audio semantic mask based on the given conditions:"


def frames(pipeline: AceStepPipeline, seconds: float) -> int:
    """Number of latent frames that cover `seconds`. Rounded first, so that no rounding error adds a frame."""
    return max(1, math.ceil(round(seconds * pipeline.latents_per_second, 6)))


@torch.no_grad()
def encode(
    pipeline: AceStepPipeline,
    text: Text,
    seconds: float,
    instruction: str = TEXT_TO_MUSIC,
    timbre: Tensor | None = None,
) -> Tensor:
    """Encode one request as `[1, L, D]`: lyrics, timbre, then text.

    Requests are encoded one at a time: the transformer has no mask for padded text, so in a padded batch a request's
    music would depend on the lengths of the other prompts.

    Args:
        instruction: the first line of the prompt, which names the task.
        timbre: that of a reference recording, `[1, 1, D]`; by default that of silence.
    """
    encoder = pipeline.condition_encoder
    hidden, _, lyrics, lyrics_mask = pipeline.encode_prompt(
        prompt=text.prompt,
        lyrics="" if text.lyrics is None else text.lyrics or INSTRUMENTAL,
        device=placement(pipeline.transformer)[0],
        vocal_language=text.vocal_language or _DEFAULT_LANGUAGE,
        audio_duration=seconds,
        instruction=instruction,
        bpm=text.bpm,
        keyscale=text.key,
        timesignature=text.time_signature,
    )
    return torch.cat(
        [
            encoder.lyric_encoder(inputs_embeds=lyrics, attention_mask=lyrics_mask),
            encoder.silent_timbre if timbre is None else timbre,
            encoder.text_projector(hidden),
        ],
        dim=1,
    )


def silence(pipeline: AceStepPipeline, length: int) -> Tensor:
    """The latents of silence, `[1, T, C]`, with which the model was trained; they are not those of zeros."""
    device, dtype = placement(pipeline.transformer)
    latents: Tensor = pipeline.prepare_src_latents(device=device, dtype=dtype, latent_length=length)[0]
    return latents


def context(pipeline: AceStepPipeline, length: int) -> Tensor:
    """The transformer's input beside the latents, `[1, T, 2C]`: silence as source audio, and a mask to generate all."""
    source = silence(pipeline, length)
    return torch.cat([source, torch.ones_like(source)], dim=-1)


def null(pipeline: AceStepPipeline, condition: Tensor) -> Tensor:
    """The learned unconditional embedding, in the shape of `condition` `[1, L, D]`."""
    return pipeline.condition_encoder.null_condition_emb.to(condition).expand_as(condition)
