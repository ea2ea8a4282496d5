"""Dither: the noise that makes a rounding error independent of the sound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK_FRAMES = 65_536


class Dither:
    """Rounds samples with a full scale of ±1 to multiples of 2 ** (1 - bits), with TPDF dither.

    TPDF dither, the sum of two uniform random numbers of a step each, makes mean and variance of the error independent
    of the signal (Lipshitz, Wannamaker and Vanderkooy, "Quantization and Dither", JAES 40, 1992).

    Args:
        bits: 2 to 24.
        seed: the same seed gives the same noise.
    """

    def __init__(self, bits: int, seed: int) -> None:
        self._generator, self._scale = np.random.default_rng(seed), 2.0 ** (bits - 1)

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The samples (frames, channels) that follow, rounded. The noise does not depend on how they are cut."""
        rounded, scale = np.empty(samples.shape, np.float32), self._scale
        for start in range(0, len(samples), _BLOCK_FRAMES):
            # As 64-bit floats: the noise of 24 bits would be rounded away in 32.
            block = samples[start : start + _BLOCK_FRAMES].astype(np.float64) * scale
            noise = self._generator.random((*block.shape, 2), np.float32).sum(axis=-1) - 1
            rounded[start : start + _BLOCK_FRAMES] = np.clip(np.rint(block + noise), -scale, scale - 1) / scale
        return rounded


def dithered(samples: NDArray[np.float32], bits: int, seed: int) -> NDArray[np.float32]:
    """All samples of a track (frames, channels), rounded by a `Dither` with these bits and seed."""
    return Dither(bits, seed)(samples)
