"""Loudness, normalised, as the first latent channels are trained to hold it."""

from __future__ import annotations

import torch

from ..levels import BANDS, band_levels
from .architecture import HOP, LATENT

CENTER = (1.298, 1.120, 0.529, 0.270)
SPREAD = (0.516, 0.332, 0.223, 0.244)
"""Mean and deviation of the levels over the synthesiser's songs."""
LEVELS = len(BANDS)
WAVES = LATENT - LEVELS
"""The other channels, which hold the waveform."""


def unit_levels(audio: torch.Tensor) -> torch.Tensor:
    """Loudness of audio `[B, T]` around each latent frame with mean 0 and deviation 1, `[B, LEVELS, T / HOP]`."""
    levels = band_levels(audio, HOP, 4 * HOP)
    center, spread = (levels.new_tensor(values).view(1, -1, 1) for values in (CENTER, SPREAD))
    return (levels - center) / spread
