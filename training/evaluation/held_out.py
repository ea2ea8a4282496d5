"""The loss with and without the twin on the same examples, with the same noise, times and crops for both."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from training.base import Example
from training.loop import Session

# How many examples are measured at most, and how often each, with other noise.
MAX_EXAMPLES = 32
DRAWS = 4
# With fewer songs than this their segments are the sample, and the interval says nothing about other songs.
_ENOUGH_SONGS = 5
_CONFIDENCE = 0.95
_TOGETHER = 4


@dataclass(frozen=True)
class Comparison:
    """Attributes:
    without, with_twin: mean losses.
    gain: how much lower the loss is with the twin, as a part of the loss without.
    low, high: the 95 % interval of `gain` (Student's t over the sample's paired differences); None for a sample of one.
    sample: what was compared pairwise, `songs` or `segments`.
    count: how many of them.
    """

    without: float
    with_twin: float
    gain: float
    low: float | None
    high: float | None
    sample: str
    count: int

    def record(self) -> dict[str, Any]:
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(self).items()}


def spread(count: int, most: int = MAX_EXAMPLES) -> list[int]:
    """Up to `most` of `count` indices, evenly apart."""
    return [round(index) for index in np.linspace(0, count - 1, min(count, most))] if count else []


def measure(
    session: Session,
    examples: Sequence[Example],
    name: str,
    draws: int = DRAWS,
    check: Callable[[], None] = lambda: None,
) -> NDArray[np.float64]:
    """Each example's mean loss as the session's model is now, `[examples]`; the same noise at every call.

    `check` is called on the way and may raise to give up.
    """
    sums = np.zeros(len(examples))
    for draw in range(draws):
        for start in range(0, len(examples), _TOGETHER):
            check()
            places = range(start, min(start + _TOGETHER, len(examples)))
            losses = session.losses([examples[place] for place in places], [(name, place, draw) for place in places])
            sums[start : start + len(places)] += losses.double().numpy()
    return sums / draws


def compare(without: NDArray[np.float64], with_twin: NDArray[np.float64], songs: Sequence[int]) -> Comparison:
    """The losses `[examples]` of both, where example i is of the song `songs[i]`."""
    kinds = sorted(set(songs))
    by_song = len(kinds) >= _ENOUGH_SONGS
    differences = without - with_twin
    if by_song:
        owner = np.array(songs)
        differences = np.array([differences[owner == song].mean() for song in kinds])
        base = float(np.mean([without[owner == song].mean() for song in kinds]))
        after = base - float(differences.mean())
    else:
        base, after = float(without.mean()), float(with_twin.mean())
    gain, count = (base - after) / base, len(differences)
    low = high = None
    if count > 1:
        error = float(differences.std(ddof=1)) / math.sqrt(count) / base
        margin = float(student.ppf((1 + _CONFIDENCE) / 2, count - 1)) * error
        low, high = gain - margin, gain + margin
    return Comparison(base, after, gain, low, high, "songs" if by_song else "segments", count)
