"""Loudness in four bands over time, which the codecs' first latent channels are trained to hold.

The latents of a waveform codec oscillate with the phase of each tone. Their average over songs is zero, and rhythm
shows in their amplitude only, which is hard to learn for a model that predicts averages. Loudness is smooth, and
similar in similar songs: a model can generate the beat in it first, and the waveform after.
"""

from __future__ import annotations

import torch

from .data import SAMPLE_RATE

BANDS = ((0, 150), (150, 1000), (1000, 5000), (5000, 12_000))
"""Hz."""


def band_levels(audio: torch.Tensor, hop: int, size: int) -> torch.Tensor:
    """Root of the amplitude in `BANDS` of audio `[B, T]`, in windows of `size` around each `hop`, `[B, 4, T / hop]`."""
    padded = torch.nn.functional.pad(audio, ((size - hop) // 2, (size - hop) // 2))
    window = torch.hann_window(size, device=audio.device)
    spectrum = torch.stft(padded, size, hop, window=window, center=False, return_complex=True)
    energy = spectrum.abs().square() / size
    edges = [(low * size // SAMPLE_RATE, high * size // SAMPLE_RATE) for low, high in BANDS]
    return torch.stack([(energy[:, low:high].sum(1) + 1e-6) ** 0.25 for low, high in edges], 1)


def read_levels(features: torch.Tensor, levels: torch.Tensor, ridge: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Least squares from features `[channels, frames]` to levels `[B, L, T]`: weight `[L, channels]` and bias `[L]`.

    Args:
        ridge: of the features' mean energy.
    """
    wanted = levels.transpose(0, 1).flatten(1).double()
    inputs = torch.cat([features, torch.ones_like(features[:1])]).double()
    gram = inputs @ inputs.T
    gram += ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    readout = torch.linalg.solve(gram, inputs @ wanted.T).T
    explained = 1 - (readout @ inputs - wanted).square().mean(1) / wanted.var(1)
    print("levels explained", [round(float(value), 2) for value in explained], flush=True)
    return readout[:, :-1].float(), readout[:, -1].float()
