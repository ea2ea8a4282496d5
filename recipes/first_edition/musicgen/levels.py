"""Loudness, normalised, as the first values of a frame hold it; the first codebook quantises nothing else."""

from __future__ import annotations

import torch

from ..levels import BANDS, band_levels
from .architecture import HOP, LEVEL_SLOTS

CENTER = (1.446, 1.212, 0.564, 0.292)
SPREAD = (0.625, 0.385, 0.251, 0.285)
"""Mean and deviation of the levels over the synthesiser's songs."""
LEVELS = len(BANDS) * LEVEL_SLOTS


def unit_levels(audio: torch.Tensor) -> torch.Tensor:
    """Loudness of audio `[B, T]` in each part of each frame with mean 0 and deviation 1, `[B, LEVELS, T / HOP]`."""
    slot = HOP // LEVEL_SLOTS
    levels = band_levels(audio, slot, 2 * slot)
    center, spread = (levels.new_tensor(values).view(1, -1, 1) for values in (CENTER, SPREAD))
    return ((levels - center) / spread).unflatten(2, (-1, LEVEL_SLOTS)).transpose(2, 3).flatten(1, 2)
