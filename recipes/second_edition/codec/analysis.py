"""The definition of the latents, which the encoder learns to predict and the decoder to turn into audio."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from recipes.music.corpus import Shards

from .architecture import HOP, LATENT, NOISE, RATE
from .bands import BandLevels, Region, spaced
from .latents import Whitening, band_weights, fit_whitening, wide_bands

FRAMES = 2
"""Frames of band levels to a latent frame."""
_LOW, _HIGH = Region(2048, spaced(20, 1000, 20, 0.05)), Region(1024, spaced(900, 11_700, 20, 0.05))
LEVELS = BandLevels(RATE, HOP // FRAMES, (_LOW, _HIGH))
"""89 bands; below 1 kHz 20 to 50 Hz apart, since wider bands lose sustained tones."""


class Analysis:
    """Audio to latents and latents to band levels.

    Args:
        whitening: fitted on training music.
    """

    def __init__(self, whitening: Whitening) -> None:
        self.whitening = whitening

    def latents(self, audio: Tensor) -> Tensor:
        """Latents `[B, LATENT - NOISE, T / HOP]` of audio `[B, T]`, T a multiple of `HOP`."""
        return self.whitening.encode(LEVELS(audio))

    def levels(self, latents: Tensor) -> Tensor:
        """Band levels `[B, bands, T * FRAMES]` of latents `[B, LATENT or LATENT - NOISE, T]`."""
        return self.whitening.decode(latents[:, : LATENT - NOISE])

    def save(self, path: Path) -> None:
        whitening = self.whitening
        names = ("wide", "mean", "scale", "analysis", "synthesis")
        save_file({name: getattr(whitening, name).contiguous() for name in names}, path)


def load_analysis(path: Path) -> Analysis:
    return Analysis(Whitening(FRAMES, **load_file(path)))


def fit_analysis(audio: Tensor) -> Analysis:
    """Fit the whitening to music `[B, T]`, T a multiple of `HOP`."""
    levels = torch.cat([LEVELS(part) for part in audio.split(8)])
    centres = LEVELS.centres
    return Analysis(fit_whitening(levels, wide_bands(centres), band_weights(centres), FRAMES, LATENT - NOISE))


def fit_from_shards(music: Path, shards: int = 12, seconds: float = 5.0) -> Analysis:
    """Fit it to the first `seconds` of every second clip in the first `shards` shards."""
    parts = []
    for audio, _ in islice(Shards(music), shards):
        samples = round(seconds * RATE) // HOP * HOP
        parts.append(np.asarray(audio[::2, :samples], np.float32) / 32768)
    return fit_analysis(torch.from_numpy(np.concatenate(parts)))
