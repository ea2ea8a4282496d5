"""Phase-invariant losses between two sounds."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from .architecture import RATE
from .latents import band_weights

SIZES = (128, 256, 512, 1024, 2048, 4096)
"""Samples of the windows."""


FLOOR = 1e-5
"""Energy added to each bin, 50 dB below sound as loud as the reference: what is softer is not heard beside it."""


@lru_cache(maxsize=len(SIZES))
def _window(size: int) -> Tensor:
    return torch.hann_window(size)


@lru_cache(maxsize=len(SIZES))
def _bin_weights(bins: int) -> Tensor:
    """What each bin weighs, `[bins, 1]`: as in the latents, or most of the loss would be of treble."""
    return band_weights(torch.linspace(0, RATE / 2, bins))[:, None]


def _magnitude(audio: Tensor, size: int) -> Tensor:
    """`[B, bins, frames]` of `[B, T]`."""
    window = _window(size).to(audio.device)
    spectrum = torch.stft(audio, size, size // 4, window=window, center=False, return_complex=True, normalized=True)
    return (spectrum.real.square() + spectrum.imag.square() + FLOOR).sqrt()


def spectra(audio: Tensor) -> list[Tensor]:
    return [_magnitude(audio, size) for size in SIZES]


def distance(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """Distance of `spectra`: of magnitudes, which the loud parts dominate, and of their logarithms."""
    total = a[0].new_zeros(())
    for one, other in zip(a, b, strict=True):
        weights = _bin_weights(one.shape[1]).to(one.device)
        plain = (weights * (one - other).abs()).mean(1)
        log = (weights * (one.log() - other.log()).square()).mean(1).add(1e-6).sqrt()
        total = total + plain.mean() + 0.2 * log.mean()
    return total / len(a)


def energy_distance(first: Tensor, second: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Spectral energy distance (Gritsenko et al., "A Spectral Energy Distance for Parallel Speech Synthesis", 2020).

    It is least when two estimates, from the same latents and different noise, are as far from each other as from the
    reference. A plain distance would be least at the mean of the random parts, which sounds like a buzz.

    Args:
        first, second, reference: `[B, T]`.

    Returns:
        The loss, and the plain distance to the reference for reports.
    """
    loudness = reference.square().mean(1, keepdim=True).sqrt().clamp_min(1e-3)
    one, two, wanted = (spectra(audio / loudness) for audio in (first, second, reference))
    near = 0.5 * (distance(one, wanted) + distance(two, wanted))
    return 2 * near - distance(one, two), near
