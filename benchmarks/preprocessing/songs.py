"""The synthesiser's songs that accuracy is measured on, and those that weights are fitted to."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from recipes.synthesiser import GENRES, Song, render, sample_song

Array = NDArray[np.float64]

RATE = 44_100
MEASURED_SONGS, FITTED_SONGS = range(40), range(100_000, 100_160)
TEMPO_TOLERANCE = 0.04
"""An estimated tempo is right if it differs by less."""
BAR_TOLERANCE = 0.07
"""A first bar is right if it begins within so many seconds of a bar line."""


@dataclass(frozen=True)
class Known:
    """The true values of a song; the first bar in seconds, the beat in quarter notes."""

    bpm: float
    key: str
    beats_per_bar: int
    bar_seconds: float
    first_bar: float
    beat: float = 1.0


def rendered(seed: int) -> tuple[Song, NDArray[np.float32]]:
    """60 s of song `seed`, (frames, 2): genres in turn, eight songs with drums, eight without, and so on."""
    song = sample_song(np.random.default_rng(seed), GENRES[seed % 8], drums=seed // 8 % 2 == 0)
    return song, render(song, 60, RATE, 2).T


def bar_error(seconds: Array, bar_seconds: float) -> Array:
    """The distance from the nearest bar line of times that count from one of them."""
    return np.asarray(np.abs((seconds + bar_seconds / 2) % bar_seconds - bar_seconds / 2))


def pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(min(2, os.cpu_count() or 1), mp_context=get_context("spawn"))
