"""A loss against peaks of the spectrum: steady tones that a decoder adds to any music."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW = 8192
BINS = slice(512, 3755)
"""1.5 to 11 kHz at 24 kHz."""
NEIGHBOURS = 102
"""Bins on each side, 300 Hz."""
CHANCE_DB = 3.5
"""Height of a peak that a few cuts of a second have by chance."""


@lru_cache(maxsize=1)
def _window(device: str) -> Tensor:
    return torch.hann_window(WINDOW, device=device)


def spectral_peaks(estimate: Tensor, reference: Tensor) -> Tensor:
    """Squared heights of the peaks that the mean spectrum of all cuts has and the reference's has not, summed.

    Args:
        estimate, reference: mono `[B, T]`, at least `WINDOW` samples long.
    """
    excess = _heights(estimate) - _heights(reference).clamp_min(0) - CHANCE_DB
    return (excess.clamp_min(0) / 10).square().sum()


def _heights(audio: Tensor) -> Tensor:
    """How far each bin of the mean spectrum, over cuts and frames, is above those around it, in dB, `[bins]`."""
    window = _window(str(audio.device))
    spectrum = torch.stft(audio, WINDOW, WINDOW // 4, window=window, center=False, return_complex=True)
    level = (10 * (spectrum.real.square() + spectrum.imag.square() + 1e-7).log10()).mean((0, 2))
    around = F.avg_pool1d(level[None], 2 * NEIGHBOURS + 1, 1, NEIGHBOURS, count_include_pad=False)[0]
    return (level - around)[BINS]
