"""The waveform of a track, as a player draws it."""

from __future__ import annotations

import numpy as np

from generation.encode import Sound

POINTS = 800


def waveform(sound: Sound) -> bytes:
    """The loudest sample of each of `POINTS` equally long parts, or of each frame if there are fewer, as bytes."""
    samples = np.abs(sound.floats()).max(axis=1)
    points = min(POINTS, len(samples))
    starts = np.arange(points) * len(samples) // max(points, 1)
    loudest = np.maximum.reduceat(samples, starts) if points else samples
    return np.clip(np.rint(loudest * 255), 0, 255).astype(np.uint8).tobytes()
