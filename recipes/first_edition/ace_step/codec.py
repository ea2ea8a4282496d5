"""Train the codec: first the whole autoencoder, then the decoder alone on top of the frozen encoder.

The second stage needs the `latents` stage, which fixes the scale of the latents. It can run beside the model's
training, as the latents do not change any more.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderOobleck
from torch.nn import functional as F

from models.ace_step.model import AceStep

from ..codec_training import CodecTraining
from ..losses import codec_loss
from ..precision import autocast
from .architecture import HOP, build_codec, encode_mean
from .levels import LEVELS, WAVES, unit_levels
from .transform import start_as_transform

CUT = 76 * HOP
"""Samples of a training cut, half a second."""
RATE = 1.5e-3
KL_WEIGHT = 2e-3
LEVEL_WEIGHT = 4.0
LEVEL_NOISE, WAVE_NOISE = 0.1, 0.5
"""Largest deviation of the noise on the latents in the decoder stage; the latents' own deviations are 1.5 and about 1.

A model predicts loudness well and waves only roughly; with such noise the decoder learns to rely on the loudness."""


def train_codec(runs: Path, steps: int, batch: int, device: str, compile_it: bool, stage: str = "codec") -> None:
    """Train to `steps` steps in total, and write the codec to `runs/<stage>`; resumes from `runs`.

    `stage` is `codec` (encoder and decoder) or `decoder` (the encoder frozen, started from `runs/codec-unit`).
    """
    whole = stage == "codec"
    torch.manual_seed(0)
    codec = build_codec() if whole else AutoencoderOobleck.from_pretrained(runs / "codec-unit")
    training = CodecTraining(
        codec,
        runs / f"{stage}.pt",
        RATE,
        steps,
        write=lambda: codec.save_pretrained(runs / stage),
        reconstruct=lambda audio: reconstruct(codec, audio, str(codec.device)),
    )
    if whole and not training.first:
        start_as_transform(codec, torch.from_numpy(training.pool.cuts(np.random.default_rng(0), 128, CUT)))
        training.report(0)
    codec.to(device).train()
    codec.encoder.requires_grad_(whole)
    training.begin([p for p in codec.parameters() if p.requires_grad])
    encoder = torch.compile(codec.encoder) if compile_it else codec.encoder
    decoder = torch.compile(codec.decoder) if compile_it else codec.decoder
    for step in range(training.first, steps):
        audio = training.cuts(step, batch, CUT).to(device)
        with autocast(device), torch.set_grad_enabled(whole):
            mean, scale = encoder(audio).float().chunk(2, dim=1)
        penalty = levels = mean.new_zeros(())
        if whole:
            deviation = F.softplus(scale) + 1e-4
            levels = F.mse_loss(mean[:, :LEVELS], unit_levels(audio[:, 0]))
            penalty = 0.5 * (mean.square() + deviation.square() - 2 * deviation.log() - 1).mean()
        with autocast(device):
            estimate = decoder(mean + (deviation * torch.randn_like(mean) if whole else added_noise(mean)))
        loss = codec_loss(estimate.float()[:, 0], audio[:, 0]) + KL_WEIGHT * penalty + LEVEL_WEIGHT * levels
        training.step(step, loss, kl=penalty, levels=levels)


def added_noise(latents: torch.Tensor) -> torch.Tensor:
    """Noise of a random deviation in each row of latents `[B, LATENT, T]`."""
    largest = latents.new_tensor([LEVEL_NOISE] * LEVELS + [WAVE_NOISE] * WAVES).view(1, -1, 1)
    return largest * torch.rand(len(latents), 1, 1, device=latents.device) * torch.randn_like(latents)


@torch.no_grad()
def reconstruct(codec: AutoencoderOobleck, audio: np.ndarray, device: str = "cpu") -> np.ndarray:
    """Through the codec and back: mono `[B, T]` to the same shape, T a multiple of the hop."""
    latents = encode_mean(codec, torch.from_numpy(audio)[:, None].to(device))
    return codec.decoder(latents)[:, 0].float().cpu().numpy()[:, : audio.shape[1]]


def through(model: AceStep, audio: np.ndarray) -> np.ndarray:
    """Mono `[samples]` through a loaded checkpoint's codec and back."""
    codec = model.pipeline.vae
    padded = np.pad(audio, (0, -len(audio) % codec.hop_length))
    return reconstruct(codec, padded[None], str(model.device))[0, : len(audio)]
