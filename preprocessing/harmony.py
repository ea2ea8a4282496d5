"""The key: the one whose profile fits the notes of the whole song, and whose triad the song begins with.

The profiles are those of C. Krumhansl, Cognitive Foundations of Musical Pitch, 1990. They alone often cannot tell a
key from its relative, which has the same notes; what a piece begins with often can, as loops begin at home.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocessing.choice import choose
from preprocessing.hearing import PITCHES_PER_SECOND, Heard

Array = NDArray[np.float64]

NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
# The mode, its third in semitones, its profile.
MODES = (
    ("major", 4, (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)),
    ("minor", 3, (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)),
)
KEYS = tuple(f"{note} {mode}" for mode, *_ in MODES for note in NOTES)
BEGINNING = 1.0  # seconds from the first sound
AUDIBLE = 0.05  # of the loudest moment

# Of each kind of evidence, as `evidence` lists them; see preprocessing.choice.
WEIGHTS = np.array([9.07, 29.1, 25.8, 26.7])


@dataclass(frozen=True)
class Harmony:
    """`key` is one of KEYS, such as "A minor", with the probability that it is right."""

    key: str
    confidence: float


def harmony(heard: Heard) -> Harmony:
    best, confidence = choose(evidence(heard), WEIGHTS)
    return Harmony(KEYS[best], confidence)


def evidence(heard: Heard) -> Array:
    """(24, 4): for each of KEYS the profile's correlation, and the share of its root, fifth and third at first."""
    whole = _chroma(heard.pitches)
    loudness = heard.pitches.sum(axis=0)
    first = int(np.argmax(loudness > AUDIBLE * loudness.max()))
    # Of the beginning the logarithm: there the bass must not drown the chord.
    scaled = np.log1p(100 * heard.pitches / heard.pitches.max())
    beginning = _chroma(scaled[:, first : first + round(BEGINNING * PITCHES_PER_SECOND)])
    rows = []
    for _, third, profile in MODES:
        for root in range(12):
            fit = np.corrcoef(np.roll(profile, root), whole)[0, 1] if whole.std() else 0.0
            rows.append([fit, *(beginning[(root + step) % 12] for step in (0, 7, third))])
    return np.array(rows)


def _chroma(pitches: NDArray[np.floating]) -> Array:
    """The share of each of NOTES in (84, frames) from C1 on; (12,)"""
    chroma = pitches.mean(axis=1, dtype=np.float64).reshape(-1, 12).sum(axis=0)
    return np.asarray(chroma / max(float(chroma.sum()), 1e-9))
