"""Encodes text to the condition that the transformer attends to, in training and in generation."""

from __future__ import annotations

import math

import torch
from diffusers import AceStepPipeline

from models.base import Text

# The lyrics of instrumental music in ACE-Step's training data.
INSTRUMENTAL = "[Instrumental]"


def frames(pipeline: AceStepPipeline, seconds: float) -> int:
    """Number of latent frames that cover `seconds`. Rounded first, so that no rounding error adds a frame."""
    return max(1, math.ceil(round(seconds * pipeline.latents_per_second, 6)))


@torch.no_grad()
def encode(pipeline: AceStepPipeline, text: Text, seconds: float) -> torch.Tensor:
    """Encode one request as `[1, L, D]`: lyrics, timbre, then text.

    Requests are encoded one at a time: the transformer has no mask for padded text, so in a padded batch a request's
    music would depend on the lengths of the other prompts.
    """
    device = pipeline.transformer.device
    hidden, mask, lyrics, lyrics_mask = pipeline.encode_prompt(
        prompt=text.prompt,
        lyrics="" if text.lyrics is None else text.lyrics or INSTRUMENTAL,
        device=device,
        audio_duration=seconds,
        bpm=text.bpm,
        keyscale=text.key,
        timesignature=text.time_signature,
    )
    condition, _ = pipeline.condition_encoder(
        text_hidden_states=hidden,
        text_attention_mask=mask,
        lyric_hidden_states=lyrics,
        lyric_attention_mask=lyrics_mask,
        refer_audio_acoustic_hidden_states_packed=pipeline.condition_encoder.silence_latent,
        refer_audio_order_mask=torch.zeros(1, dtype=torch.long, device=device),
    )
    return condition


def context(pipeline: AceStepPipeline, length: int) -> torch.Tensor:
    """The transformer's input beside the latents, `[1, T, 2C]`: silence as source audio, and a mask to generate all."""
    transformer = pipeline.transformer
    source, _ = pipeline.prepare_src_latents(device=transformer.device, dtype=transformer.dtype, latent_length=length)
    return torch.cat([source, torch.ones_like(source)], dim=-1)


def null(pipeline: AceStepPipeline, condition: torch.Tensor) -> torch.Tensor:
    """The learned unconditional embedding, in the shape of `condition` `[1, L, D]`."""
    return pipeline.condition_encoder.null_condition_emb.to(condition).expand_as(condition)
