"""Runs both networks over the segments of a song. It imports torch, which the front must not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

from preprocessing.tagger import musicnn
from preprocessing.tagger.words import Description, Probabilities, describe_probabilities

HOP_SECONDS = 5.0  # three windows in a segment of 15 s; more take time and change few words
SHARE_OF_SONG = 0.5  # a segment's windows are few, and its song's genre is nearly always its own


def describe(segments: Sequence[Path]) -> list[Description]:
    """Describe each segment of one song.

    Args:
        segments: WAV files that this package has written.
    """
    heard = [_probabilities(path) for path in segments]
    if not heard:
        return []
    song = np.mean(heard, axis=0)
    return [describe_probabilities(_named((1 - SHARE_OF_SONG) * each + SHARE_OF_SONG * song)) for each in heard]


def _probabilities(path: Path) -> musicnn.Array:
    """The mean probability of each tag of both networks, one after the other."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    audio = soxr.resample(samples.mean(axis=1), rate, musicnn.RATE)
    return np.concatenate(
        [musicnn.load(name).hear(audio, HOP_SECONDS).probabilities.mean(axis=0) for name in musicnn.TAGS]
    )


def _named(values: musicnn.Array) -> Probabilities:
    names = [f"{network} {tag}" for network, tags in musicnn.TAGS.items() for tag in tags]
    return dict(zip(names, map(float, values), strict=True))
