"""Measures of music without reference: pulse, tone persistence, standing lines (whistles). Mono audio `[samples]`."""

from __future__ import annotations

import librosa
import numpy as np
from librosa.onset import onset_strength

HOP = 256
SLOWEST_BPM, FASTEST_BPM = 60, 200
LINES_HZ = (2500, 8000)


def pulse(audio: np.ndarray, rate: int) -> float:
    """The highest autocorrelation of the onset envelope at 60 to 200 beats per minute."""
    strength = onset_strength(y=audio, sr=rate, hop_length=HOP)
    strength = strength - strength.mean()
    correlation = np.correlate(strength, strength, "full")[len(strength) - 1 :]
    first, last = (round(60 / bpm * rate / HOP) for bpm in (FASTEST_BPM, SLOWEST_BPM))
    return float(correlation[first : last + 1].max() / (correlation[0] + 1e-9))


def persistence(audio: np.ndarray, rate: int, seconds: float = 0.25) -> float:
    """Share of spectral peaks that are still there after `seconds`, above what chance would give.

    Peaks are the twelve strongest local maxima of each frame from 100 to 4,000 Hz, at least 12 dB above the frame's
    median. One lasts where the later frame has a peak within one bin (5.9 Hz at 24 kHz). Chance is the same share
    after moving the later frame's peaks by 7 to 13 bins.
    """
    size, hop = 4096, 1024
    power = np.abs(librosa.stft(audio, n_fft=size, hop_length=hop)) ** 2
    power = power[:, power.sum(0) > 1e-6 * power.sum(0).max()]
    low, high = (round(hz * size / rate) for hz in (100, 4000))
    level = 10 * np.log10(power[low:high].T + 1e-12)
    tops = (level[:, 1:-1] > level[:, :-2]) & (level[:, 1:-1] > level[:, 2:])
    tops &= level[:, 1:-1] > np.median(level, 1, keepdims=True) + 12
    strength = np.where(tops, level[:, 1:-1], -np.inf)
    least = np.sort(strength, 1)[:, -12:-11]
    peaks = tops & (strength >= least)
    lag = max(1, round(seconds * rate / hop))
    before, after = peaks[:-lag], peaks[lag:]
    if not before.any():
        return 0.0
    near = after.copy()
    near[:, 1:] |= after[:, :-1]
    near[:, :-1] |= after[:, 1:]
    chance = np.mean([(before & np.roll(near, move, 1)).sum() for step in range(7, 14) for move in (step, -step)])
    return float(((before & near).sum() - chance) / before.sum())


def standing_line(audio: np.ndarray, rate: int) -> float:
    """How far the highest line of the mean spectrum from 2.5 to 8 kHz stands above its neighbourhood, in dB.

    The neighbourhood is the median over 300 Hz on both sides.
    """
    size = 8192
    power = (np.abs(librosa.stft(audio, n_fft=size)) ** 2).mean(1)
    level = 10 * np.log10(power + 1e-12)
    width = round(300 * size / rate)
    first, last = (round(hz * size / rate) for hz in LINES_HZ)
    around = np.array([np.median(level[n - width : n + width + 1]) for n in range(first, last)])
    return float((level[first:last] - around).max())
