"""Music whose latents the transformer has partly drawn anew: what a decoder meets in generation, with its audio."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from diffusers import AceStepPipeline
from torch import Tensor

from ..clips import LOOP_SECONDS
from ..data import TRAINING, MusicCuts, audio_of, song_number
from .architecture import HOP, SHAPE, encode_mean

FIRST_SONG = 50_000
SONGS_SHARE = 0.25
TIMES = (0.25, 0.8)
"""Noise that the latents are given; with more, little of the music would be left to compare with."""
STEPS = 8
_NULL_TOKENS = 8


@dataclass(frozen=True)
class Redrawn:
    """A clip and its latents after the transformer.

    Attributes:
        audio: 16 bits, `[T * HOP]`.
        latents: half precision, `[LATENT, T]`.
    """

    audio: Tensor
    latents: Tensor


def load_redrawn(runs: Path, checkpoint: Path, music: Path, count: int) -> list[Redrawn]:
    """`count` clips from `runs/redrawn.pt`, which is written first where it is missing."""
    path = runs / "redrawn.pt"
    if not path.exists():
        pipeline = AceStepPipeline.from_pretrained(checkpoint)
        found = list(_redraw(pipeline, _audio(music, count)))
        torch.save([(clip.audio, clip.latents) for clip in found], path)
    return [Redrawn(*parts) for parts in torch.load(path, weights_only=True)]


def _audio(music: Path, count: int) -> Iterator[Tensor]:
    """16-bit clips, of the music and of new songs of the synthesiser."""
    rng = np.random.default_rng([TRAINING, 3])
    samples = SHAPE.frames(LOOP_SECONDS) * HOP
    cuts = MusicCuts(music)
    for number in range(count):
        if rng.random() < SONGS_SHARE:
            clip = audio_of(song_number(TRAINING, FIRST_SONG + number), LOOP_SECONDS)[:samples]
        else:
            clip = cuts.draw(rng, 1, samples)[0, 0]
        yield torch.from_numpy(np.round(clip.clip(-1, 1) * 32767).astype(np.int16))


@torch.inference_mode()
def _redraw(pipeline: AceStepPipeline, clips: Iterator[Tensor]) -> Iterator[Redrawn]:
    """Give each clip's latents noise, and denoise them without a prompt."""
    encoder = pipeline.condition_encoder
    clock = encoder.silence_latent[:, : SHAPE.frames(LOOP_SECONDS)]
    generator = torch.Generator().manual_seed(0)
    for audio in clips:
        latents = encode_mean(pipeline.vae, audio[None, None].float() / 32768).transpose(1, 2)
        first = TIMES[0] + (TIMES[1] - TIMES[0]) * float(torch.rand((), generator=generator))
        latents = torch.lerp(latents, torch.randn(latents.shape, generator=generator), first)
        times = torch.linspace(first, 0, STEPS + 1)
        for time, following in pairwise(times):
            velocity = pipeline.transformer(
                hidden_states=latents,
                timestep=time[None],
                timestep_r=time[None],
                encoder_hidden_states=encoder.null_condition_emb.expand(1, _NULL_TOKENS, -1),
                context_latents=torch.cat([clock, torch.ones_like(clock)], -1),
                return_dict=False,
            )[0]
            latents = latents + (following - time) * velocity
        yield Redrawn(audio, latents[0].T.half().contiguous())
