"""From text to what the transformer attends to. Training and generation both come here."""

from __future__ import annotations

import math

import torch
from diffusers import AceStepPipeline

from models.base import Text

# What the model was taught to read where nobody sings.
INSTRUMENTAL = "[Instrumental]"


def frames(pipeline: AceStepPipeline, seconds: float) -> int:
    """Latent frames that cover `seconds`; never one too many from a rounding error of the product."""
    return max(1, math.ceil(round(seconds * pipeline.latents_per_second, 6)))


@torch.no_grad()
def encode(pipeline: AceStepPipeline, text: Text, seconds: float) -> torch.Tensor:
    """The condition sequence of one request, `[1, L, D]`: lyrics, timbre, then text.

    One request at a time, since the transformer has no mask for padded text: in a padded batch a request's
    music would depend on how long its neighbours' prompts are.
    """
    device = pipeline.transformer.device
    hidden, mask, lyrics, lyrics_mask = pipeline.encode_prompt(
        prompt=text.prompt,
        lyrics=text.lyrics or INSTRUMENTAL,
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
    """What is known of the music beforehand, `[1, T, 2C]`: silence as the source, and "make all of it"."""
    transformer = pipeline.transformer
    source, _ = pipeline.prepare_src_latents(device=transformer.device, dtype=transformer.dtype, latent_length=length)
    return torch.cat([source, torch.ones_like(source)], dim=-1)


def null(pipeline: AceStepPipeline, condition: torch.Tensor) -> torch.Tensor:
    """The learned "no condition" in the shape of `condition` `[1, L, D]`."""
    return pipeline.condition_encoder.null_condition_emb.to(condition).expand_as(condition)
