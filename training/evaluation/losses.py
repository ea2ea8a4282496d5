"""Paired losses of the base model and the twin: the same examples with the same noise, times and crops for both."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from training.base import Example
from training.loop import Session

MAX_EXAMPLES = 32
# With fewer songs than this the sample is their segments, and the interval says nothing about other songs.
_MIN_SONGS = 5
_CONFIDENCE = 0.95
_BATCH = 4


@dataclass(frozen=True)
class Comparison:
    """The losses of the base model and of the twin on the same examples.

    Attributes:
        without: mean loss of the base model.
        with_twin: mean loss with the twin.
        gain: (without - with_twin) / without.
        low, high: 95 % interval of `gain`, Student's t over the paired differences; None for a sample of one.
        sample: the unit of the paired differences, `songs` or `segments`.
        count: size of the sample.
        by_song: the gain of each song, by the song's index.
    """

    without: float
    with_twin: float
    gain: float
    low: float | None
    high: float | None
    sample: str
    count: int
    by_song: Mapping[int, float] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """The fields as the report stores them."""
        plain = {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(self).items()}
        return plain | {"by_song": [{"song": song, "gain": round(gain, 6)} for song, gain in self.by_song.items()]}


def measure(
    session: Session,
    examples: Sequence[Example],
    seed: str,
    draws: int,
    check_stop: Callable[[], None] = lambda: None,
) -> NDArray[np.float64]:
    """Each example's mean loss, `[examples]`, by the session's model as it is now.

    Args:
        seed: of the noise, which is the same at every call with the same seed.
        draws: measurements of each example, with different noise.
        check_stop: called before each batch; it may raise to stop.
    """
    measured = np.zeros((draws, len(examples)))
    every = list(np.ndindex(measured.shape))
    for start in range(0, len(every), _BATCH):
        check_stop()
        batch = every[start : start + _BATCH]
        losses = session.losses([examples[index] for _, index in batch], [(seed, index, draw) for draw, index in batch])
        measured.flat[start : start + len(batch)] = losses.double().numpy()
    mean: NDArray[np.float64] = measured.mean(axis=0)
    return mean


def compare(without: NDArray[np.float64], with_twin: NDArray[np.float64], songs: Sequence[int]) -> Comparison:
    """Compare the losses `[examples]` of the base model and of the twin.

    Args:
        songs: for each example, the index of its song.
    """
    unique_songs = sorted(set(songs))
    over_songs = len(unique_songs) >= _MIN_SONGS
    differences, song_of = without - with_twin, np.array(songs)
    by_song = {
        song: float(differences[song_of == song].mean() / without[song_of == song].mean()) for song in unique_songs
    }
    if over_songs:
        differences = np.array([differences[song_of == song].mean() for song in unique_songs])
        base = float(np.mean([without[song_of == song].mean() for song in unique_songs]))
        twin = base - float(differences.mean())
    else:
        base, twin = float(without.mean()), float(with_twin.mean())
    gain, count = (base - twin) / base, len(differences)
    low = high = None
    if count > 1:
        standard_error = float(differences.std(ddof=1)) / math.sqrt(count) / base
        margin = float(student.ppf((1 + _CONFIDENCE) / 2, count - 1)) * standard_error
        low, high = gain - margin, gain + margin
    return Comparison(base, twin, gain, low, high, "songs" if over_songs else "segments", count, by_song)
