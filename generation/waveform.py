"""The waveform of a track, as a player draws it."""

from __future__ import annotations

import numpy as np

from generation.encode import Part, Sound, as_floats

POINTS = 800


class Waveform:
    """The loudest sample of each of `POINTS` equally long parts, or of each frame if there are fewer.

    Args:
        frames: of the whole track.
    """

    def __init__(self, frames: int) -> None:
        self._starts = np.arange(points := min(POINTS, frames)) * frames // max(points, 1)
        self._loudest = np.zeros(points, np.float32)
        self._frames = 0

    def add(self, samples: Part) -> None:
        """Add the frames that follow; those beyond the whole count as its end."""
        loudest = np.abs(as_floats(samples)).max(axis=1, initial=0)
        points = np.searchsorted(self._starts, self._frames + np.arange(len(loudest)), "right") - 1
        if len(self._starts):
            np.maximum.at(self._loudest, points, loudest)
        self._frames += len(loudest)

    def encoded(self) -> bytes:
        """A byte for each part."""
        return np.clip(np.rint(self._loudest * 255), 0, 255).astype(np.uint8).tobytes()


def waveform(sound: Sound) -> bytes:
    """The waveform of a whole track."""
    whole = Waveform(sound.frames)
    for part in sound.parts:
        whole.add(part)
    return whole.encoded()
