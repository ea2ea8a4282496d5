"""Loudness in four bands: what the first latent channels are taught to be.

What a waveform codec learns by itself swings with the phase of each tone, so that on average over songs nothing
is left and rhythm shows only in how far it swings: hard to learn for a model that predicts averages. Loudness is
smooth, and alike in songs that are alike, so the model can lay down the beat in these channels first and fill in the
waves after.
"""

from __future__ import annotations

import torch

from .architecture import HOP, LATENT, SAMPLE_RATE

BANDS = ((0, 150), (150, 1000), (1000, 5000), (5000, 12_000))
"""Hz."""
CENTER = (1.298, 1.120, 0.529, 0.270)
SPREAD = (0.516, 0.332, 0.223, 0.244)
"""Mean and deviation of the levels over the synthesiser's songs."""
LEVELS = len(BANDS)
WAVES = LATENT - LEVELS
"""The channels that are left to the waveform."""


def band_levels(audio: torch.Tensor) -> torch.Tensor:
    """Root of the amplitude in `BANDS` of audio `[B, T]` around each latent frame, `[B, LEVELS, T / HOP]`."""
    size = 4 * HOP
    padded = torch.nn.functional.pad(audio, ((size - HOP) // 2, (size - HOP) // 2))
    window = torch.hann_window(size, device=audio.device)
    spectrum = torch.stft(padded, size, HOP, window=window, center=False, return_complex=True)
    energy = spectrum.abs().square() / size
    edges = [(low * size // SAMPLE_RATE, high * size // SAMPLE_RATE) for low, high in BANDS]
    return torch.stack([(energy[:, low:high].sum(1) + 1e-6) ** 0.25 for low, high in edges], 1)


def unit_levels(audio: torch.Tensor) -> torch.Tensor:
    """`band_levels` with mean 0 and deviation 1."""
    levels = band_levels(audio)
    center, spread = (levels.new_tensor(values).view(1, -1, 1) for values in (CENTER, SPREAD))
    return (levels - center) / spread
