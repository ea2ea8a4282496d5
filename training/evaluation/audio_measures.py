"""Measures of music without a reference: pulse, persistence of tones, and steady lines, which are heard as whistles.

All take mono audio `[samples]` at any rate, of which they measure what is below 12 kHz, and none depends on its level.
"""

from __future__ import annotations

import librosa
import numpy as np
import soxr
from librosa.onset import onset_strength
from numpy.typing import NDArray
from scipy.ndimage import median_filter

Audio = NDArray[np.float32]

_RATE = 24_000
_ONSET_HOP = 256
_SLOWEST_BPM, _FASTEST_BPM = 60, 200
# Quieter audio counts as silence.
_MIN_PEAK = 1e-6

_TONE_WINDOW, _TONE_HOP = 4096, 1024
_TONES_HZ = (100, 4000)
_PEAKS = 12
_MIN_PEAK_HEIGHT = 12  # dB above the frame's median
_MAX_PEAK_DEPTH = 60  # dB below the frame's highest
_UNRELATED_SECONDS, _UNRELATED_SHIFTS = 2.0, 24
_MIN_FRAME_POWER = 1e-6  # of the loudest frame's

_LINE_WINDOW = 8192
_NEIGHBOURHOOD_HZ = 300
_WHISTLES_HZ = (2500, 8000)
_COMB_HZ = (1000, 11_000)


def pulse(audio: Audio, rate: int) -> float:
    """The highest autocorrelation of the onset envelope at 60 to 200 beats per minute, 0 to 1."""
    audio = _prepared(audio, rate)
    strength = onset_strength(y=audio, sr=_RATE, hop_length=_ONSET_HOP)
    strength = strength - strength.mean()
    correlation = np.correlate(strength, strength, "full")[len(strength) - 1 :]
    first, last = (round(60 / bpm * _RATE / _ONSET_HOP) for bpm in (_FASTEST_BPM, _SLOWEST_BPM))
    return float(correlation[first : last + 1].max(initial=0.0) / (correlation[0] + 1e-9))


def persistence(audio: Audio, rate: int, seconds: float = 0.25) -> float:
    """The share of spectral peaks that are still there after `seconds`, above what chance would give.

    Peaks are the twelve strongest local maxima of each frame from 100 to 4,000 Hz, at least 12 dB above the frame's
    median and at most 60 dB below its highest. One persists if the later frame has a peak within one bin (5.9 Hz).
    Chance is the same share of frames that are at least two seconds apart. So a line that never ends adds nothing,
    since it is as likely a whistle as a tone; nor does a tone that comes back all the time.
    """
    power = _power(_prepared(audio, rate), _TONE_WINDOW, _TONE_HOP)
    power = power[:, power.sum(0) > _MIN_FRAME_POWER * power.sum(0).max()]
    low, high = (_bin(hz, _TONE_WINDOW) for hz in _TONES_HZ)
    level = 10 * np.log10(power[low:high].T + 1e-12)
    inner = level[:, 1:-1]
    peaks = (inner > level[:, :-2]) & (inner > level[:, 2:])
    peaks &= inner > np.median(level, 1, keepdims=True) + _MIN_PEAK_HEIGHT
    peaks &= inner > inner.max(1, keepdims=True) - _MAX_PEAK_DEPTH
    weakest = np.sort(np.where(peaks, inner, -np.inf), 1)[:, -_PEAKS, None]
    peaks &= inner >= weakest
    lag = max(1, round(seconds * _RATE / _TONE_HOP))
    before, after = peaks[:-lag], peaks[lag:]
    if not before.any():
        return 0.0
    near = after.copy()
    near[:, 1:] |= after[:, :-1]
    near[:, :-1] |= after[:, 1:]
    frames = len(near)
    least = min(round(_UNRELATED_SECONDS * _RATE / _TONE_HOP), frames // 2)
    shifts = np.linspace(least, frames - least, _UNRELATED_SHIFTS).astype(int)
    chance = np.mean([(before & np.roll(near, shift, 0)).sum() for shift in shifts])
    return float(((before & near).sum() - chance) / before.sum())


def whistle(audio: Audio, rate: int) -> float:
    """The height of the highest steady line from 2.5 to 8 kHz, in dB. A note that is held all the time counts too."""
    first, last = (_bin(hz, _LINE_WINDOW) for hz in _WHISTLES_HZ)
    return float(_line_heights(audio, rate)[first:last].max())


def comb(audio: Audio, rate: int, spacing: float) -> float:
    """The mean height of the steady lines at all multiples of `spacing` Hz from 1 to 11 kHz, in dB.

    A codec can leave such lines at multiples of its frame rate. Music has none, in whatever key it is: 0 to 1.5 dB.
    """
    low, high = _COMB_HZ
    heights = _line_heights(audio, rate)
    return float(np.mean([_near(heights, hz) for hz in np.arange(-(-low // spacing) * spacing, high, spacing)]))


def line(audio: Audio, rate: int, frequency: float) -> float:
    """The height of the steady line at `frequency` Hz, in dB."""
    return _near(_line_heights(audio, rate), frequency)


def _line_heights(audio: Audio, rate: int) -> NDArray[np.float32]:
    """How far each bin of the median spectrum over time is above the median of the bins within 300 Hz, in dB."""
    power = _power(_prepared(audio, rate), _LINE_WINDOW, _LINE_WINDOW // 4)
    level = np.median(10 * np.log10(power + 1e-12), 1)
    heights: NDArray[np.float32] = level - median_filter(level, 2 * _bin(_NEIGHBOURHOOD_HZ, _LINE_WINDOW) + 1)
    return heights


def _near(heights: NDArray[np.float32], hz: float) -> float:
    """The height at a frequency that may be between two bins."""
    exact = hz * _LINE_WINDOW / _RATE
    return float(heights[int(exact) : int(exact) + 2].max())


def _power(audio: Audio, window: int, hop: int) -> NDArray[np.float32]:
    """`[bins, frames]`."""
    power: NDArray[np.float32] = np.abs(librosa.stft(audio, n_fft=window, hop_length=hop)) ** 2
    return power


def _bin(hz: float, window: int) -> int:
    return round(hz * window / _RATE)


def _prepared(audio: Audio, rate: int) -> Audio:
    """The audio at `_RATE`, with a peak of 1 so that no threshold depends on its level."""
    if rate != _RATE:
        audio = soxr.resample(audio, rate, _RATE, quality="HQ")
    peak = float(np.abs(audio).max(initial=0.0))
    return np.zeros_like(audio) if peak < _MIN_PEAK else (audio / peak).astype(np.float32)
