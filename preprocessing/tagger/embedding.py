"""The tagger's last hidden layer, in which music of one kind lies close together."""

from __future__ import annotations

from typing import Literal

import soxr

from preprocessing.tagger.musicnn import RATE, WINDOW_SAMPLES, Array, load

HOP_SECONDS = 1.5
SIZE = 200


def embed(audio: Array, rate: int, network: Literal["mtt", "msd"] = "msd") -> Array:
    """The embedding of mono audio (samples,): (windows, 200), windows of three seconds that overlap by half.

    Raises:
        ValueError: the audio is shorter than a window.
    """
    resampled = soxr.resample(audio, rate, RATE)
    if len(resampled) < WINDOW_SAMPLES:
        raise ValueError(f"{len(audio) / rate:.1f} s of audio; an embedding needs {WINDOW_SAMPLES / RATE:.1f} s")
    return load(network).hear(resampled, HOP_SECONDS).embedding
