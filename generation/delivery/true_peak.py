"""True peaks: those between the samples too (ITU-R BS.1770-4, annex 2), and a limiter for them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Samples = NDArray[np.float32]  # (frames, channels); full scale is ±1

# Four times, as the standard has it, misses up to half a decibel of noise that reaches up to half the sample rate.
OVERSAMPLING = 8
# By this long before a peak the gain begins to fall, and by this long after it the gain is back.
LOOK_AHEAD_SECONDS = 0.01
# The filter is flat up to half the sample rate: a resampler's, which ends below, takes off the tops of clicks.
_HALF_WIDTH = 16
_KAISER_BETA = 9.0
_BLOCK_FRAMES = 2**16


def _interpolation() -> NDArray[np.float32]:
    """The weights of the samples around, `[2 * _HALF_WIDTH, points]`, for the points between a frame and the next."""
    samples = np.arange(1 - _HALF_WIDTH, _HALF_WIDTH + 1)[:, None]
    distance = samples - np.arange(1, OVERSAMPLING) / OVERSAMPLING
    window = np.i0(_KAISER_BETA * np.sqrt(1 - (distance / _HALF_WIDTH) ** 2)) / np.i0(_KAISER_BETA)
    return (np.sinc(distance) * window).astype(np.float32)


_WEIGHTS = _interpolation()


def true_peaks(samples: Samples, circular: bool = False) -> NDArray[np.float32]:
    """The true peak of each frame, over all channels: from the frame to the next one.

    Args:
        circular: the end is followed by the beginning.
    """
    around = ((_HALF_WIDTH - 1, _HALF_WIDTH), (0, 0))
    padded = np.pad(samples, around, mode="wrap" if circular else "constant")
    peaks = np.abs(samples).max(axis=1)
    for start in range(0, len(samples), _BLOCK_FRAMES):
        block = peaks[start : start + _BLOCK_FRAMES]
        for channel in padded[start : start + len(block) + 2 * _HALF_WIDTH - 1].T:
            between = sliding_window_view(channel, 2 * _HALF_WIDTH) @ _WEIGHTS
            np.maximum(block, np.abs(between).max(axis=1), out=block)
    return peaks


def limiter_gain(
    peaks: NDArray[np.float32],
    ceiling: float,
    rate: int,
    circular: bool = False,
    look_ahead: float = LOOK_AHEAD_SECONDS,
) -> NDArray[np.float32]:
    """The gain of each frame, at most 1, that keeps these true peaks under the ceiling.

    It is 1 where no peak over the ceiling is near. Around one it falls and rises again smoothly: the least gain in the
    neighbourhood, averaged twice over a window that does not reach beyond it.
    """
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    needed = np.minimum(1, ceiling / np.maximum(peaks, np.finfo(np.float32).tiny)).astype(np.float64)
    window = round(look_ahead * rate) // 2 * 2 + 1
    mode: Literal["wrap", "nearest"] = "wrap" if circular else "nearest"
    least = minimum_filter1d(needed, 2 * window - 1, mode=mode)
    return uniform_filter1d(uniform_filter1d(least, window, mode=mode), window, mode=mode).astype(np.float32)
