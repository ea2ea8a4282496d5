"""Duplicate songs, also in another format, at another level, or with an encoder's silence before them.

Two songs are duplicates if their lengths agree and their fingerprints (mel spectra over time, each band less its mean)
correlate almost perfectly. Another mix of a song is no duplicate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from preprocessing.analysis import Analysis

MIN_CORRELATION = 0.98
MAX_LENGTH_DIFFERENCE = 0.5  # seconds
MAX_SHIFT = 1  # frames of 93 ms


def duplicates(songs: Sequence[Analysis]) -> list[int | None]:
    """For each song the index of the earlier song that it repeats, else None."""
    found: list[int | None] = []
    for index, song in enumerate(songs):
        firsts = (other for other in range(index) if found[other] is None)
        found.append(next((other for other in firsts if _same(songs[other], song)), None))
    return found


def _same(one: Analysis, other: Analysis) -> bool:
    if one.fingerprint is None or other.fingerprint is None:
        return False
    if abs(one.levels.seconds - other.levels.seconds) > MAX_LENGTH_DIFFERENCE:
        return False
    shifts = range(-MAX_SHIFT, MAX_SHIFT + 1)
    return max(correlation(one.fingerprint, other.fingerprint, shift) for shift in shifts) >= MIN_CORRELATION


def correlation(one: NDArray[np.float32], other: NDArray[np.float32], shift: int = 0) -> float:
    """The correlation of two fingerprints (bands, frames), the second shifted by `shift` frames; −1 to 1."""
    if shift < 0:
        return correlation(other, one, -shift)
    length = min(one.shape[1], other.shape[1] - shift)
    if length < 2:
        return 0.0
    a, b = one[:, :length], other[:, shift : shift + length]
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale else 0.0
