"""The key: the one whose profiles the notes fit, those of the whole song and those that it begins with.

Krumhansl's profiles (Cognitive Foundations of Musical Pitch, 1990) alone often cannot tell a key from its relative,
which has the same notes; what a piece begins with often can, as loops begin at home. So profiles of both were fitted
(by `python -m benchmarks.preprocessing fit`) and are weighed together with his.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocessing.choice import choose
from preprocessing.features import PITCHES_PER_SECOND, Heard

Array = NDArray[np.float64]

NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
MODES = ("major", "minor")
PROFILES = (
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
)
KEYS = tuple(f"{note} {mode}" for mode in MODES for note in NOTES)
BEGINNING = 1.0  # seconds from the first sound
AUDIBLE = 0.05  # of the loudest moment

# Of each kind of evidence, as `evidence` lists them: the correlation with Krumhansl's profile; then the shares of the
# twelve notes from the tonic up.
WEIGHTS = np.array(
    [
        8.0,
        *(24.26, -4.93, -34.6, -22.97, 16.89, 1.28, 5.77, 6.18, 15.61, -5.98, -7.88, 2.05),  # whole, major
        *(0.05, -31.74, -49.24, 12.4, 3.23, -16.64, -0.11, 28.89, -3.1, 31.44, 14.67, 14.46),  # whole, minor
        *(-0.72, 12.51, -28.5, -4.16, 18.19, -7.79, -7.81, 6.31, 16.47, -17.67, 6.61, 2.82),  # beginning, major
        *(18.44, 1.78, -5.8, 11.13, 12.03, -36.38, 10.61, 10.75, -21.79, 14.73, -13.69, 1.92),  # beginning, minor
    ]
)


@dataclass(frozen=True)
class Harmony:
    """`key` is one of KEYS, such as "A minor", with the probability that it is right."""

    key: str
    confidence: float


def harmony(heard: Heard) -> Harmony:
    best, confidence = choose(evidence(heard), WEIGHTS)
    return Harmony(KEYS[best], confidence)


def evidence(heard: Heard) -> Array:
    """(24, 49): for each of KEYS, what WEIGHTS weighs."""
    pitches = heard.pitches / heard.pitches.max()
    loudness = pitches.sum(axis=0)
    first = int(np.argmax(loudness > AUDIBLE * loudness.max()))
    opening = pitches[:, first : first + round(BEGINNING * PITCHES_PER_SECOND)]
    # Roots and logarithms, so that the bass does not drown the chords.
    whole, beginning = _chroma(np.sqrt(pitches)), _chroma(np.log1p(100 * opening))
    plain = _chroma(pitches)
    rows = np.zeros((24, 49))
    for number, row in enumerate(rows):
        mode, root = divmod(number, 12)
        row[0] = np.corrcoef(np.roll(PROFILES[mode], root), plain)[0, 1] if plain.std() else 0.0
        row[1:].reshape(2, 2, 12)[:, mode] = np.roll([whole, beginning], -root, axis=1)
    return rows


def _chroma(pitches: NDArray[np.floating]) -> Array:
    """The share of each of NOTES in (84, frames) from C1 on; (12,)"""
    chroma = pitches.mean(axis=1, dtype=np.float64).reshape(-1, 12).sum(axis=0)
    return np.asarray(chroma / max(float(chroma.sum()), 1e-9))
