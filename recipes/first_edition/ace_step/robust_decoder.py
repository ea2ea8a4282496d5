"""Train the decoder for what it meets beside the synthesiser's songs: other music, and latents of the transformer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderOobleck
from torch import Tensor

from ..channels_last import use_channels_last
from ..codec_training import CodecTraining
from ..data import MusicCuts
from ..losses import codec_loss, noise_level_error, spectral_error
from ..snake import use_training_snake
from .architecture import HOP, encode_mean
from .codec import added_noise, reconstruct
from .redrawn import Redrawn, load_redrawn
from .standing_lines import standing_lines

FRAMES = 150
"""Of a cut, a second."""
EDGE = 8
"""Frames at both ends of a cut that have no loss, since the decoder's input ends there."""
CUTS = 2
"""In a step, of songs, of other music and of redrawn clips each."""
RATE = 7e-4
REDRAWN_CLIPS = 240
SPECTRAL_WEIGHT, LEVEL_WEIGHT = 0.3, 0.25
"""Of the parts of the loss of redrawn clips, whose waveform is not the original's."""
LINES_WEIGHT = 0.6


def train_robust_decoder(runs: Path, checkpoint: Path, music: Path, steps: int) -> None:
    """Train to `steps` steps in total, from the checkpoint's codec, and write it to `runs/decoder`; resumes.

    Args:
        music: the folder of clips that `python -m recipes.music` wrote.
    """
    codec = AutoencoderOobleck.from_pretrained(checkpoint / "vae", torch_dtype=torch.float32)
    codec.encoder.requires_grad_(False)
    use_channels_last(codec)
    use_training_snake(codec)
    training = CodecTraining(
        codec,
        runs / "robust_decoder.pt",
        RATE,
        steps,
        write=lambda: _save(codec, checkpoint, runs / "decoder"),
        reconstruct=lambda audio: reconstruct(codec, audio),
    )
    training.begin(list(codec.decoder.parameters()))
    cuts = MusicCuts(music)
    redrawn = load_redrawn(runs, checkpoint, music, REDRAWN_CLIPS)
    for step in range(training.first, steps):
        rng = np.random.default_rng([step, 5])
        songs = training.cuts(step, CUTS, FRAMES * HOP)
        audio = torch.cat([songs, torch.from_numpy(cuts.draw(rng, CUTS, FRAMES * HOP))])[:, 0]
        with torch.no_grad():
            latents = encode_mean(codec, audio[:, None])
        drawn, kept = _redrawn_cuts(redrawn, rng)
        estimate = codec.decoder(torch.cat([latents + added_noise(latents), drawn]))[:, 0]
        estimate, wanted = (x[:, EDGE * HOP : -EDGE * HOP] for x in (estimate, torch.cat([audio, kept])))
        encoded = codec_loss(estimate[: len(audio)], wanted[: len(audio)])
        pair = estimate[len(audio) :], wanted[len(audio) :]
        redrawn_loss = SPECTRAL_WEIGHT * spectral_error(*pair) + LEVEL_WEIGHT * noise_level_error(*pair)
        lines = standing_lines(estimate, wanted)
        training.step(step, encoded + redrawn_loss + LINES_WEIGHT * lines, redrawn=redrawn_loss, lines=lines)


def _redrawn_cuts(clips: list[Redrawn], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Latents `[CUTS, LATENT, FRAMES]` and audio `[CUTS, samples]`."""
    latents, audio = [], []
    for _ in range(CUTS):
        clip = clips[rng.integers(len(clips))]
        start = int(rng.integers(clip.latents.shape[1] - FRAMES))
        latents.append(clip.latents[:, start : start + FRAMES].float())
        audio.append(clip.audio[start * HOP : (start + FRAMES) * HOP].float() / 32768)
    return torch.stack(latents), torch.stack(audio)


def _save(codec: AutoencoderOobleck, checkpoint: Path, target: Path) -> None:
    """Write the codec as stock diffusers loads it."""
    plain = AutoencoderOobleck.from_pretrained(checkpoint / "vae")
    plain.load_state_dict(codec.state_dict())
    plain.save_pretrained(target)
