"""The tagger's embedding, to compare music by."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np

from preprocessing.tagger.musicnn import RATE, WINDOW_SAMPLES
from preprocessing.tagger.musicnn import Musicnn as Network

HOP_SECONDS = 1.5


class Musicnn:
    """One of the tagger's networks, for audio at any rate.

    Args:
        weights: `msd.npz` or `mtt.npz`.
    """

    def __init__(self, weights: Path) -> None:
        self._network = Network(weights)

    def embed(self, audio: np.ndarray, rate: int) -> np.ndarray:
        """One row of 200 numbers for each window of three seconds of mono audio `[samples]`, half overlapping.

        Raises:
            ValueError: the audio is shorter than a window.
        """
        resampled = librosa.resample(audio, orig_sr=rate, target_sr=RATE)
        if len(resampled) < WINDOW_SAMPLES:
            raise ValueError(f"{len(audio) / rate:.1f} s of audio; an embedding needs {WINDOW_SAMPLES / RATE:.1f} s")
        return self._network.hear(resampled, HOP_SECONDS).embedding


def energy_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Energy distance of two samples of points `[N, D]`: 0 where they come from one distribution."""

    def mean(x: np.ndarray, y: np.ndarray) -> float:
        square = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T
        return float(np.sqrt(np.maximum(square, 0)).mean())

    return 2 * mean(a, b) - mean(a, a) - mean(b, b)
