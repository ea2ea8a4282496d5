"""Detects music that is only noise."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import soxr
from numpy.typing import NDArray

_RATE = 22_050
# A tenth of a second: from frame to frame the level of noise hardly changes, but that of music does.
_FRAME = 2_205
_BAND_EDGES = (60, 125, 250, 500, 1_000, 2_000, 4_000, 8_000)  # Hz
_MIN_POWER = 1e-10


def is_noise(audio: NDArray[np.float32], rate: int) -> bool:
    """Whether a piece `[channels, samples]` at `rate` Hz is stationary noise of any colour, without tones or rhythm.

    Both criteria are taken per octave. In Gaussian noise the spectral flatness, the geometric mean of the power
    spectrum over its arithmetic mean, is 0.56 (exp(-γ), with Euler's constant γ); tones lower it. The level of tenths
    of a second deviates by less than a decibel or two; a beat raises that.
    """
    mono = _mono(audio, rate)
    frames = len(mono) // _FRAME
    if frames < 4:
        return False
    power = np.abs(np.fft.rfft(mono[: frames * _FRAME].reshape(frames, _FRAME) * np.hanning(_FRAME))) ** 2 + _MIN_POWER
    frequencies = np.fft.rfftfreq(_FRAME, 1 / _RATE)
    flatness, deviations = [], []
    for low, high in pairwise(_BAND_EDGES):
        band = power[:, (frequencies >= low) & (frequencies < high)]
        if band.mean() < 1e-6 * power.mean():
            continue  # this octave is silent
        flatness.append(float(np.median(np.exp(np.log(band).mean(axis=1)) / band.mean(axis=1))))
        deviations.append(float(np.std(10 * np.log10(band.mean(axis=1)))) * np.sqrt(band.shape[1]))
    if not flatness:
        return False
    # The level of n bins of noise deviates by about 4.3 dB / √n, and by more since Hann's window correlates neighbours.
    return bool(np.median(flatness) > 0.4 and np.median(deviations) < 12)


def _mono(audio: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    mono: NDArray[np.float32] = audio.mean(axis=0, dtype=np.float32)
    return mono if rate == _RATE else soxr.resample(mono, rate, _RATE, quality="HQ")
