"""Short cuts of the training music with their latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .analysis import Analysis
from .architecture import HOP

FRAMES = 64
"""Latent frames of a cut: 1.28 s."""
MARGIN = 5
"""Latent frames on both sides of a cut that its band levels depend on."""
HELD_SHARDS = 1
"""Shards at the end that are held out for reports."""


class Cuts:
    """Random cuts of the clips in some shards."""

    def __init__(self, shards: list[Path], analysis: Analysis) -> None:
        self._audio = [np.load(path, mmap_mode="r") for path in shards]
        self._analysis = analysis

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Audio `[count, FRAMES * HOP]` and latents `[count, LATENT - NOISE, FRAMES]`."""
        length = (FRAMES + 2 * MARGIN) * HOP
        rows = []
        for _ in range(count):
            shard = self._audio[rng.integers(len(self._audio))]
            start = rng.integers(shard.shape[1] - length)
            rows.append(np.asarray(shard[rng.integers(len(shard)), start : start + length], np.float32) / 32768)
        audio = torch.from_numpy(np.stack(rows))
        latents = self._analysis.latents(audio)[..., MARGIN:-MARGIN]
        return audio[:, MARGIN * HOP : -MARGIN * HOP], latents
