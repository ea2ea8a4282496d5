"""The key of a song, by matching its chroma against key profiles.

Krumhansl's profiles (Cognitive Foundations of Musical Pitch, 1990) alone often confuse a key with its relative, which
has the same notes. What a piece begins with often tells them apart, as loops begin on the tonic. So profiles of the
whole song and of its first second were fitted (`python -m benchmarks.preprocessing fit`) and are weighed with his.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocessing.conditional_logit import probabilities
from preprocessing.features import CQT_FRAME_RATE, Features

Array = NDArray[np.float64]

NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
MODES = ("major", "minor")
KRUMHANSL_PROFILES = (
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
)
"""For each of MODES, the weight of each pitch class from the tonic up."""
KEYS = tuple(f"{note} {mode}" for mode in MODES for note in NOTES)
OPENING_SECONDS = 1.0  # from the first sound
AUDIBLE_SHARE = 0.05  # of the loudest frame

# One weight for each column of `evidence`: the correlation with Krumhansl's profile; then the share of each pitch class
# from the tonic up.
WEIGHTS = np.array(
    [
        10.30,  # Krumhansl
        *(25.5, 4.59, 6.35, -41.92, 25.66, -35.82, 13.28, 38.87, 18.34, -27.91, -41.13, 14),  # whole, major
        *(2.36, -31.52, -50.12, 12.09, -16.35, -36.05, 19.95, 61.19, -28.22, 20.02, 38.77, 8.08),  # whole, minor
        *(-11.42, 20.53, -13.33, -10.94, 27.32, -12.7, -4.34, -10.4, 24.31, -23.53, 10.41, 3.91),  # opening, major
        *(23.27, -2.54, -4.07, 8.17, 17.09, -54.4, 21.67, 6.39, -25.47, 26.24, -21.7, 5.53),  # opening, minor
    ]
)


@dataclass(frozen=True)
class KeyEstimate:
    """A key out of KEYS, such as "A minor", with the probability that it is right."""

    key: str
    confidence: float


def estimate_key(features: Features) -> KeyEstimate:
    shares = probabilities(evidence(features), WEIGHTS)
    best = int(shares.argmax())
    return KeyEstimate(KEYS[best], float(shares[best]))


def evidence(features: Features) -> Array:
    """(24, 49): for each of KEYS, the features that WEIGHTS weighs."""
    magnitudes = features.cqt / features.cqt.max()
    loudness = magnitudes.sum(axis=0)
    first = int(np.argmax(loudness > AUDIBLE_SHARE * loudness.max()))
    opening = magnitudes[:, first : first + round(OPENING_SECONDS * CQT_FRAME_RATE)]
    # Compressed by root and logarithm, so that the bass does not mask the chords.
    whole_chroma, opening_chroma = _chroma(np.sqrt(magnitudes)), _chroma(np.log1p(100 * opening))
    linear_chroma = _chroma(magnitudes)
    rows = np.zeros((24, 49))
    for number, row in enumerate(rows):
        mode, tonic = divmod(number, 12)
        profile = np.roll(KRUMHANSL_PROFILES[mode], tonic)
        row[0] = np.corrcoef(profile, linear_chroma)[0, 1] if linear_chroma.std() else 0.0
        row[1:].reshape(2, 2, 12)[:, mode] = np.roll([whole_chroma, opening_chroma], -tonic, axis=1)
    return rows


def _chroma(magnitudes: NDArray[np.floating]) -> Array:
    """The share of each pitch class (12,) in constant-Q magnitudes (84, frames) from C1 up."""
    chroma = magnitudes.mean(axis=1, dtype=np.float64).reshape(-1, 12).sum(axis=0)
    return np.asarray(chroma / max(float(chroma.sum()), 1e-9))
