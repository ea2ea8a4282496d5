"""A track's samples as bytes, as a runner answers them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.dither import dithered
from runners.messages import PcmFormat


def encoded(track: NDArray[np.float32], sample_format: PcmFormat, seed: int) -> bytes:
    """Samples `[channels, samples]` as interleaved little-endian ones.

    Args:
        seed: of the dither of 16-bit samples.
    """
    samples = np.clip(track, -1, 1).T
    if sample_format == "float32":
        return samples.astype("<f4").tobytes()
    return (dithered(samples, 16, seed) * 2**15).astype("<i2").tobytes()
