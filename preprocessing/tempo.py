"""The tempo of a song, by autocorrelation of its onset envelopes.

Candidates are the tempos at whose beat period the onset envelope is periodic. Which of them a listener would tap (the
octave problem) is decided by the autocorrelation of low, high and all sound at fractions and multiples of the beat, and
by a preference for moderate tempos (D. Moelants, Preferred tempo reconsidered, 2002).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import gaussian_filter1d

from preprocessing.conditional_logit import choose
from preprocessing.features import ONSET_FRAME_RATE, Features

Array = NDArray[np.float64]

SLOWEST_BPM, FASTEST_BPM = 55.0, 190.0
MAX_CANDIDATES = 12
BEAT_MULTIPLES = (0.25, 0.5, 1, 2, 4, 8)  # lags at which the autocorrelation is read
PREFERRED_BPM = 115.0
MIN_PERIODICITY = 0.05  # sum of the autocorrelation at one, two and four beats

# One weight for each column of `evidence`; see preprocessing.conditional_logit.
WEIGHTS = np.array(
    [
        *(-5.52, 1.01, 4.27, -3.09, 7.68, 4.51),  # low sound
        *(1.4, -0.19, 0.09, 0.76, 3.21, 0.82),  # high sound
        *(-0.12, 3.76, -0.51, 1.69, 5.0, -0.25),  # all sound
        *(0.5, -2.32),  # octaves above PREFERRED_BPM, and their square
    ]
)


@dataclass(frozen=True)
class Tempo:
    """A tempo in beats per minute, with the probability that it is right."""

    bpm: float
    confidence: float


def estimate_tempo(features: Features) -> Tempo | None:
    """The song's tempo, None if its onsets are not periodic."""
    envelopes = enhance(features.onset_envelopes)
    tempos, rows = evidence(envelopes)
    if not len(tempos):
        return None
    best, confidence = choose(rows, WEIGHTS)
    return Tempo(refine(envelopes[2], tempos[best]), confidence)


def enhance(envelopes: NDArray[np.float32]) -> Array:
    """Onset envelopes (3, frames) less their local mean, rectified and smoothed."""
    above = envelopes - gaussian_filter1d(envelopes, ONSET_FRAME_RATE / 2, axis=1)
    return gaussian_filter1d(np.maximum(0, above), 1.0, axis=1).astype(np.float64)


def evidence(envelopes: Array) -> tuple[Array, Array]:
    """Candidate tempos (n,) in beats per minute, and the features of each (n, 20) that WEIGHTS weighs."""
    correlations = [_autocorrelation(envelope) for envelope in envelopes]
    tempos = np.exp(np.arange(np.log(SLOWEST_BPM), np.log(FASTEST_BPM), 0.01))
    comb = np.sum([_at_lag(correlations[2], multiple, tempos) for multiple in (1, 2, 4)], axis=0)
    peaks = np.flatnonzero((comb[1:-1] > MIN_PERIODICITY) & (comb[1:-1] >= comb[:-2]) & (comb[1:-1] >= comb[2:])) + 1
    tempos = tempos[peaks[np.argsort(-comb[peaks])[:MAX_CANDIDATES]]]
    octaves = np.log2(tempos / PREFERRED_BPM)
    columns = [_at_lag(correlation, multiple, tempos) for correlation in correlations for multiple in BEAT_MULTIPLES]
    return tempos, np.stack([*columns, octaves, octaves**2], axis=1)


def _autocorrelation(envelope: Array) -> Array:
    """Normalised: 1 at lag 0. The last lag is the slowest beat's largest multiple, or half the song."""
    envelope = envelope - envelope.mean()
    size = next_fast_len(2 * len(envelope), real=True)
    lags = min(len(envelope) // 2, round(BEAT_MULTIPLES[-1] * 60 / SLOWEST_BPM * ONSET_FRAME_RATE) + 2)
    products = irfft(np.abs(rfft(envelope, size)) ** 2, size)[:lags]
    return products / (len(envelope) - np.arange(lags)) * len(envelope) / max(float(products[0]), 1e-9)


def _at_lag(correlation: Array, multiple: float, tempos: Array) -> Array:
    """The highest autocorrelation within a frame of a multiple of each tempo's beat; 0 beyond the last lag."""
    lags = multiple * 60 / tempos * ONSET_FRAME_RATE
    frames = np.arange(len(correlation))
    return np.max([np.interp(lags + shift, frames, correlation, right=0.0) for shift in (-1, -0.5, 0, 0.5, 1)], axis=0)


def refine(envelope: Array, bpm: float) -> float:
    """The tempo within 1.5 % of `bpm` with the most Fourier energy at its beats, halves and quarters of beats."""
    times = np.arange(len(envelope)) / ONSET_FRAME_RATE
    envelope = envelope - envelope.mean()
    step = 60 / (8 * times[-1])
    near = np.arange(bpm * 0.985, bpm * 1.015, step)
    energies = [
        sum(abs(envelope @ np.exp(-2j * np.pi * tempo / 60 * part * times)) for part in (1, 2, 4)) for tempo in near
    ]
    best = int(np.argmax(energies))
    if not 0 < best < len(near) - 1:
        return bpm
    before, peak, after = energies[best - 1 : best + 2]
    return float(near[best] + step * (before - after) / (2 * (before - 2 * peak + after)))  # parabolic interpolation
