"""True peaks: those between the samples too (ITU-R BS.1770-4, annex 2), and a limiter for them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d, uniform_filter1d

Samples = NDArray[np.float32]  # (frames, channels); full scale is ±1

OVERSAMPLING = 4
# By this long before a peak the gain begins to fall, and by this long after it the gain is back.
LOOK_AHEAD_SECONDS = 0.01
_BLOCK_FRAMES = 2**18
_MARGIN_FRAMES = 2_048  # beyond the resampler's filter


def true_peaks(samples: Samples, rate: int, circular: bool = False) -> NDArray[np.float32]:
    """The true peak of each frame, over all channels: from the frame to the next one.

    Args:
        circular: the end is followed by the beginning.
    """
    padded = np.pad(samples, ((_MARGIN_FRAMES, _MARGIN_FRAMES), (0, 0)), mode="wrap" if circular else "constant")
    peaks = np.empty(len(samples), np.float32)
    for start in range(0, len(samples), _BLOCK_FRAMES):
        frames = min(_BLOCK_FRAMES, len(samples) - start)
        block = padded[start : start + frames + 2 * _MARGIN_FRAMES]
        dense = soxr.resample(block, rate, OVERSAMPLING * rate, quality="VHQ")
        dense = dense[OVERSAMPLING * _MARGIN_FRAMES :][: OVERSAMPLING * frames]
        peaks[start : start + frames] = np.abs(dense).reshape(frames, -1).max(axis=1)
    # The resampler takes off the highest frequencies, and with them the tops of clicks.
    return np.maximum(peaks, np.abs(samples).max(axis=1))


def limiter_gain(peaks: NDArray[np.float32], ceiling: float, rate: int, circular: bool = False) -> NDArray[np.float32]:
    """The gain of each frame, at most 1, that keeps these true peaks under the ceiling.

    It is 1 where no peak over the ceiling is near. Around one it falls and rises again smoothly: the least gain in the
    neighbourhood, averaged twice over a window that does not reach beyond it.
    """
    needed = np.minimum(1, ceiling / np.maximum(peaks, np.finfo(np.float32).tiny)).astype(np.float64)
    window = round(LOOK_AHEAD_SECONDS * rate) // 2 * 2 + 1
    mode: Literal["wrap", "nearest"] = "wrap" if circular else "nearest"
    least = minimum_filter1d(needed, 2 * window - 1, mode=mode)
    return uniform_filter1d(uniform_filter1d(least, window, mode=mode), window, mode=mode).astype(np.float32)
