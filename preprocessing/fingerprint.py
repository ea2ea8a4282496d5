"""The fingerprint of a song: a spectrogram in bands of a quarter tone, which preprocessing.duplicates compares."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from preprocessing.decoders import Samples
from preprocessing.features import RATE

Fingerprint = NDArray[np.uint8]

BANDS_PER_OCTAVE, OCTAVES = 24, 6
HOP = 1024  # samples
FRAME_RATE = RATE / HOP
STEPS_PER_DECIBEL = 4

_WINDOW = 4096  # samples
_LOWEST_BAND = 110.0  # Hz
_FLOOR = -40.0  # dB; below it, codecs and limiters change more than the music does
_AUDIBLE_SHARE = 0.02  # of the peak
_FRAMES_AT_ONCE = 256  # bounds the memory


def fingerprint(samples: Samples) -> Fingerprint:
    """The level of each band over time, (bands, frames), in quarter decibels above the floor.

    Args:
        samples: mono at features.RATE, not silent; silence at their ends is left out.
    """
    peak = max(samples.max(), -samples.min())
    audible = np.flatnonzero(np.abs(samples) > _AUDIBLE_SHARE * peak)
    padded = np.pad(samples[audible[0] : audible[-1] + 1] / peak, _WINDOW // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::HOP]
    taper = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
    parts = []
    for start in range(0, len(windows), _FRAMES_AT_ONCE):
        spectrum = fft.rfft(windows[start : start + _FRAMES_AT_ONCE] * taper, axis=1)
        parts.append(_filters() @ (spectrum.real**2 + spectrum.imag**2).T)
    power = np.concatenate(parts, axis=1)
    loud = np.percentile(power.max(axis=0), 95)
    decibels = 10 * np.log10(np.maximum(power / loud, 10 ** (_FLOOR / 10)))
    return np.minimum(STEPS_PER_DECIBEL * (decibels - _FLOOR) + 0.5, 255).astype(np.uint8)


@cache
def _filters() -> NDArray[np.float32]:
    """Triangular filters over the power spectrum, (bands, frequencies)."""
    frequencies = np.arange(_WINDOW // 2 + 1) * RATE / _WINDOW
    centres = _LOWEST_BAND * 2 ** (np.arange(OCTAVES * BANDS_PER_OCTAVE) / BANDS_PER_OCTAVE)
    widths = np.maximum(centres * (2 ** (1 / BANDS_PER_OCTAVE) - 1), RATE / _WINDOW)
    distance = np.abs(frequencies - centres[:, None]) / widths[:, None]
    return np.maximum(0, 1 - distance).astype(np.float32)
