"""The figures of sets of clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.real.composers import ClipSet
from training.evaluation.audio_measures import Audio, comb, line, persistence, pulse, whistle
from training.evaluation.energy_distance import energy_distance
from training.evaluation.listening import levelled

Embed = Callable[[Audio, int], NDArray[np.float32]]
Measure = Callable[[Audio, int], float]

MEASURES: dict[str, Measure] = {
    "pulse": pulse,
    "persistence": persistence,
    "whistle, dB": whistle,
    "75 Hz, dB": lambda audio, rate: comb(audio, rate, 75),
    "150 Hz, dB": lambda audio, rate: comb(audio, rate, 150),
    "3 kHz, dB": lambda audio, rate: line(audio, rate, 3000),
}
DISTANCE = "distance"

# A value for each set, by the figure's name.
Figures = dict[str, NDArray[np.float64]]


class Meter:
    """Measures sets of clips at `rate` Hz against a composer's held music.

    Args:
        embed: mono audio and its rate to points `[N, D]`.
        held: the composer's held music.
    """

    def __init__(self, embed: Embed, held: ClipSet, rate: int) -> None:
        self._embed, self._rate = embed, rate
        self._held = self._points(held)

    def measure(self, sets: Sequence[ClipSet]) -> Figures:
        """A set's figure is the mean of its clips'; its distance is of all their points."""
        figures = {
            name: np.array([np.mean([measure(clip, self._rate) for clip in clips]) for clips in sets])
            for name, measure in MEASURES.items()
        }
        distances = [energy_distance(self._points(clips), self._held) for clips in sets]
        return figures | {DISTANCE: np.array(distances)}

    def _points(self, clips: ClipSet) -> NDArray[np.float32]:
        return np.concatenate([self._embed(levelled(clip), self._rate) for clip in clips])
