"""A loss against standing lines: steady tones, first at multiples of the frame rate, that a decoder adds to music."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ..spectral_peaks import spectral_peaks
from .architecture import HOP

WINDOW = 2 * HOP
"""Samples: every second bin is at a multiple of the frame rate, and turns by whole turns from frame to frame."""
BINS = slice(14, 148, 2)
"""1 to 11 kHz."""
LEVEL_FRAMES = 9
QUIET = 0.01
"""Added to the reference's magnitudes; 90 dB below full scale."""


@lru_cache(maxsize=1)
def _window(device: str) -> Tensor:
    return torch.hann_window(WINDOW, device=device)


def _at_multiples(audio: Tensor) -> Tensor:
    """The spectrum at multiples of the frame rate, complex `[B, bins, frames]`."""
    window = _window(str(audio.device))
    return torch.stft(audio, WINDOW, HOP, window=window, center=False, return_complex=True)[:, BINS]


def standing_lines(estimate: Tensor, reference: Tensor) -> Tensor:
    """The sum of three terms, each zero where the estimate has no more lines than the reference and chance.

    - What stands still at each multiple of the frame rate: the spectrum is divided by the reference's level around each
      frame, since a line is heard where the music is soft, and its mean over the frames is what has one phase in all.
    - The phases there alone. This does nothing to a line that is alone in its bin, but keeps weak ones from growing.
    - `spectral_peaks`, at any frequency, as a decoder can move a line off the multiples.

    Args:
        estimate, reference: mono `[B, T]`, as for `spectral_peaks`.
    """
    made, wanted = _at_multiples(estimate), _at_multiples(reference)
    frames = made.shape[2]
    level = F.avg_pool1d(wanted.abs(), LEVEL_FRAMES, 1, LEVEL_FRAMES // 2, count_include_pad=False) + QUIET
    held = (made / level).mean(2).abs().square()
    lines = (1 + frames * held).log().sub(1).clamp_min(0)

    chance = 1.5 / frames
    excess = (_coherence(made) + chance).log() - (_coherence(wanted).clamp_min(1 / frames) + chance).log()
    coherent = excess.clamp_min(0).square().mean()
    return 0.15 * lines.sum(1).mean() + 0.1 * coherent + 0.05 * spectral_peaks(estimate, reference)


def _coherence(spectrum: Tensor) -> Tensor:
    """1 where all frames have one phase, `1 / frames` on average where they have any, `[B, bins]`."""
    return (spectrum / (spectrum.abs() + 1e-4)).mean(2).abs().square()
