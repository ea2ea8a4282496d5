"""Dither: the noise that makes a rounding error independent of the sound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK_FRAMES = 65_536


def dithered(samples: NDArray[np.float32], bits: int, seed: int) -> NDArray[np.float32]:
    """Samples (frames, channels), full scale ±1, rounded to multiples of 2 ** (1 - bits) with TPDF dither.

    TPDF dither, the sum of two uniform random numbers of a step each, makes mean and variance of the error independent
    of the signal (Lipshitz, Wannamaker and Vanderkooy, "Quantization and Dither", JAES 40, 1992).

    Args:
        bits: 2 to 24.
        seed: the same seed gives the same noise.
    """
    generator, scale = np.random.default_rng(seed), 2.0 ** (bits - 1)
    rounded = np.empty(samples.shape, np.float32)
    for start in range(0, len(samples), _BLOCK_FRAMES):
        # As 64-bit floats: the noise of 24 bits would be rounded away in 32.
        block = samples[start : start + _BLOCK_FRAMES].astype(np.float64) * scale
        noise = generator.random((*block.shape, 2), np.float32).sum(axis=-1) - 1
        rounded[start : start + _BLOCK_FRAMES] = np.clip(np.rint(block + noise), -scale, scale - 1) / scale
    return rounded
