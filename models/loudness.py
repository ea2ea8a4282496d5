"""The level of finished tracks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PEAK = 10 ** (-1 / 20)
_SILENCE = 1e-6


def normalise(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalise `[channels, samples]` to a peak of −1 dBFS, as ACE-Step's own pipeline does. Silence is left unchanged.

    Raises:
        FloatingPointError: a sample is not finite.
    """
    return (audio * np.float32(normalising_gain(audio))).astype(np.float32)


def normalising_gain(audio: NDArray[np.float32]) -> float:
    """The factor by which `normalise` multiplies `[channels, samples]`. Raises FloatingPointError as it does."""
    peak = _peak(audio)
    return 1.0 if peak < _SILENCE else PEAK / peak


def clip(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Clip `[channels, samples]` to ±1.

    Raises:
        FloatingPointError: a sample is not finite.
    """
    return audio if _peak(audio) <= 1 else np.clip(audio, -1, 1)


def check_finite(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """The audio itself. Raises FloatingPointError if a sample is not finite."""
    _peak(audio)
    return audio


def _peak(audio: NDArray[np.float32]) -> float:
    peak = float(np.abs(audio).max(initial=0.0))
    if not np.isfinite(peak):
        raise FloatingPointError("the model made samples that are not finite")
    return peak
