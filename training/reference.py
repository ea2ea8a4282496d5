"""Music that is nobody's: the same everywhere, to see what a twin makes of what it was not trained for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.base import Text
from models.starter.synthesiser import GENRES, caption, metadata, render, sample_song

NAME = "eight pieces of the synthesiser, one a genre"

_SEED = 1_500
_SECONDS = 10.0


def pieces(rate: int, channels: int) -> Iterator[tuple[NDArray[np.float32], Text]]:
    """A piece of each genre, `[channels, samples]` at `rate` Hz, and what it is said to be."""
    for number, genre in enumerate(GENRES):
        rng = np.random.default_rng([_SEED, number])
        song = sample_song(rng, genre)
        said = metadata(song)
        text = Text(caption(song, rng), bpm=said["bpm"], key=said["keyscale"], time_signature=said["timesignature"])
        yield np.ascontiguousarray(render(song, _SECONDS, rate, channels), np.float32), text
