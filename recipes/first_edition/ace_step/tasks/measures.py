"""Measures of edited audio against its source: tempo, phase of the beat, harmony and timbre."""

from __future__ import annotations

import librosa
import numpy as np
from librosa.onset import onset_strength

from ... import measures

FINE_HOP = 64
"""Samples at `measures.RATE`; 2.9 ms."""
BEATS = 4
"""The tempo is read from this multiple of a beat, for precision."""


def tempo_ratio(audio: np.ndarray, bpm: float) -> float:
    """Tempo of mono audio at `measures.RATE` over `bpm`, nan where it has no beat within 4 % of it."""
    strength = measures.onsets(audio)
    if measures.tempo_error(measures.tempo(strength), bpm) > 0.04:
        return float("nan")
    centred = strength - strength.mean()
    correlation = np.correlate(centred, centred, "full")[len(centred) - 1 :]
    lag = BEATS * 60 / bpm * measures.RATE / measures.HOP
    low, high = int(0.96 * lag), min(int(1.04 * lag) + 2, len(correlation) - 1)
    peak = low + int(np.argmax(correlation[low:high]))
    left, middle, right = correlation[peak - 1 : peak + 2]
    bend = left - 2 * middle + right
    return float(lag / (peak + (0.5 * (left - right) / bend if bend < 0 else 0.0)))


def beat_offset(audio: np.ndarray, source: np.ndarray, bpm: float) -> float:
    """Seconds by which the onsets of `audio` come after those of `source`, at most half a beat either way.

    Args:
        audio: mono at `measures.RATE`, from the first beat of a bar.
        source: as long, also from the first beat of a bar.
    """
    made, given = (_onsets(part) for part in (audio, source))
    reach = int(30 / bpm * measures.RATE / FINE_HOP)
    lags = np.arange(-reach, reach + 1)
    likeness = [float(np.dot(np.roll(given, lag), made)) for lag in lags]
    return float(lags[int(np.argmax(likeness))] * FINE_HOP / measures.RATE)


def onset_likeness(audio: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two onset envelopes; mono audio at `measures.RATE`."""
    first, second = (measures.onsets(part) for part in (audio, other))
    return float(np.nan_to_num(np.corrcoef(first, second[: len(first)])[0, 1]))


def chroma_likeness(audio: np.ndarray, source: np.ndarray) -> float:
    """Mean correlation of the pitch classes' loudness over time; mono audio at `measures.RATE`."""
    first, second = (
        librosa.feature.chroma_stft(y=part, sr=measures.RATE, n_fft=4096, hop_length=2048) for part in (audio, source)
    )
    first, second = (chroma - chroma.mean(0) for chroma in (first, second))
    norms = np.linalg.norm(first, axis=0) * np.linalg.norm(second, axis=0)
    return float(np.mean((first * second).sum(0) / (norms + 1e-9)))


def mfcc(audio: np.ndarray) -> np.ndarray:
    """Mean of 20 MFCCs of mono audio at `measures.RATE`, at one peak level."""
    level = 0.8 * audio / max(float(np.abs(audio).max()), 1e-6)
    return librosa.feature.mfcc(y=level, sr=measures.RATE, n_mfcc=20).mean(1)


def nearest(made: np.ndarray, references: np.ndarray, scale: np.ndarray) -> int:
    """The row of `references` `[N, 20]` that `made` `[20]` is nearest to."""
    return int(np.argmin(np.linalg.norm((references - made) / scale, axis=1)))


def _onsets(audio: np.ndarray) -> np.ndarray:
    strength = onset_strength(y=audio, sr=measures.RATE, hop_length=FINE_HOP, n_fft=1024)
    return strength - strength.mean()
