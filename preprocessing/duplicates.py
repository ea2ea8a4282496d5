"""Finding the same song twice, also in another format, at another level, or with an encoder's silence before it.

Two songs are the same if they are equally long and the outlines of their spectra over time, without each band's own
level, correlate nearly completely. (Another mix of a song does not: it is another thing to learn from.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from preprocessing.analysis import Analysis

ALIKE = 0.98  # correlation
LENGTHS = 0.5  # seconds that they may differ
SHIFT = 1  # frames of 93 ms


def duplicates(songs: Sequence[Analysis]) -> list[int | None]:
    """For each song the index of the first that is the same, None for those that are first themselves."""
    found: list[int | None] = []
    for index, song in enumerate(songs):
        firsts = (other for other in range(index) if found[other] is None)
        found.append(next((other for other in firsts if _same(songs[other], song)), None))
    return found


def _same(one: Analysis, other: Analysis) -> bool:
    if one.print is None or other.print is None or abs(one.levels.seconds - other.levels.seconds) > LENGTHS:
        return False
    shifts = range(-SHIFT, SHIFT + 1)
    return max(likeness(one.print, other.print, shift) for shift in shifts) >= ALIKE


def likeness(one: NDArray[np.float32], other: NDArray[np.float32], shift: int = 0) -> float:
    """The correlation of two prints (bands, frames), the second one moved by `shift` frames; −1 to 1."""
    if shift < 0:
        return likeness(other, one, -shift)
    length = min(one.shape[1], other.shape[1] - shift)
    if length < 2:
        return 0.0
    a, b = one[:, :length], other[:, shift : shift + length]
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale else 0.0
