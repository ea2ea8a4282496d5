"""The tempo.

The candidates are the tempos at whose beats the onsets repeat themselves. Which of them people would tap, and write on
the file, is decided by how strongly low, high and all sound repeats at fractions and multiples of the beat, and by a
preference for moderate tempos (D. Moelants, Preferred tempo reconsidered, 2002).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import gaussian_filter1d

from preprocessing.choice import choose
from preprocessing.features import ONSETS_PER_SECOND, Heard

Array = NDArray[np.float64]

SLOWEST, FASTEST = 55.0, 190.0  # beats a minute
CANDIDATES = 12
MULTIPLES = (0.25, 0.5, 1, 2, 4, 8)  # of a beat, at which repetition is looked for
MODERATE = 115.0
FAINT = 0.05  # the sum of three autocorrelations up to which nothing repeats

# Of each kind of evidence, as `evidence` lists them; see preprocessing.choice.
WEIGHTS = np.array(
    [
        *(-5.52, 1.01, 4.27, -3.09, 7.68, 4.51),  # low sound
        *(1.4, -0.19, 0.09, 0.76, 3.21, 0.82),  # high sound
        *(-0.12, 3.76, -0.51, 1.69, 5.0, -0.25),  # all sound
        *(0.5, -2.32),  # octaves above MODERATE, and their square
    ]
)


@dataclass(frozen=True)
class Rhythm:
    """`bpm` in beats a minute, with the probability that it is right."""

    bpm: float
    confidence: float


def rhythm(heard: Heard) -> Rhythm | None:
    """The song's rhythm, None if nothing in it repeats."""
    onsets = sharpened(heard.onsets)
    tempos, kinds = evidence(onsets)
    if not len(tempos):
        return None
    best, confidence = choose(kinds, WEIGHTS)
    return Rhythm(refined(onsets[2], tempos[best]), confidence)


def sharpened(onsets: NDArray[np.float32]) -> Array:
    """The same without what changes slowly, (3, frames)."""
    above = onsets - gaussian_filter1d(onsets, ONSETS_PER_SECOND / 2, axis=1)
    return gaussian_filter1d(np.maximum(0, above), 1.0, axis=1).astype(np.float64)


def evidence(onsets: Array) -> tuple[Array, Array]:
    """Candidate tempos (n,) in beats a minute, and the evidence for each (n, 20)."""
    repeats = [_autocorrelation(row) for row in onsets]
    tempos = np.exp(np.arange(np.log(SLOWEST), np.log(FASTEST), 0.01))
    comb = np.sum([_around(repeats[2], multiple, tempos) for multiple in (1, 2, 4)], axis=0)
    peaks = np.flatnonzero((comb[1:-1] > FAINT) & (comb[1:-1] >= comb[:-2]) & (comb[1:-1] >= comb[2:])) + 1
    tempos = tempos[peaks[np.argsort(-comb[peaks])[:CANDIDATES]]]
    octaves = np.log2(tempos / MODERATE)
    kinds = [_around(row, multiple, tempos) for row in repeats for multiple in MULTIPLES]
    return tempos, np.stack([*kinds, octaves, octaves**2], axis=1)


def _autocorrelation(row: Array) -> Array:
    """From lag 0, where it is 1, to the slowest beat's largest multiple or half the song."""
    row = row - row.mean()
    size = next_fast_len(2 * len(row), real=True)
    lags = min(len(row) // 2, round(MULTIPLES[-1] * 60 / SLOWEST * ONSETS_PER_SECOND) + 2)
    products = irfft(np.abs(rfft(row, size)) ** 2, size)[:lags]
    return products / (len(row) - np.arange(lags)) * len(row) / max(float(products[0]), 1e-9)


def _around(repeats: Array, multiple: float, tempos: Array) -> Array:
    """The highest autocorrelation within a frame of a multiple of the beat; 0 beyond what was heard."""
    lags = multiple * 60 / tempos * ONSETS_PER_SECOND
    frames = np.arange(len(repeats))
    return np.max([np.interp(lags + shift, frames, repeats, right=0.0) for shift in (-1, -0.5, 0, 0.5, 1)], axis=0)


def refined(row: Array, bpm: float) -> float:
    """The tempo near `bpm` whose beats, halves and quarters hold the most of the onsets, over the whole song."""
    times = np.arange(len(row)) / ONSETS_PER_SECOND
    row = row - row.mean()
    step = 60 / (8 * times[-1])
    near = np.arange(bpm * 0.985, bpm * 1.015, step)
    held = [sum(abs(row @ np.exp(-2j * np.pi * tempo / 60 * part * times)) for part in (1, 2, 4)) for tempo in near]
    best = int(np.argmax(held))
    if not 0 < best < len(near) - 1:
        return bpm
    before, at, after = held[best - 1 : best + 2]
    return float(near[best] + step * (before - after) / (2 * (before - 2 * at + after)))  # a parabola's top
