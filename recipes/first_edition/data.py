"""Training music, rendered on demand: a seed and a number always give the same song."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from recipes.music.corpus import Shards

from ..synthesiser import GENRES, Song, render, sample_song

SAMPLE_RATE = 24_000
"""Hz; the starters' audio is mono."""
TRAINING, VALIDATION, EVALUATION = 1, 2, 3
"""Seeds of the three sets, which share no song."""


def song_number(seed: int, number: int) -> Song:
    """Song `number` of a set: genres in turn, everything else at random."""
    return sample_song(np.random.default_rng([seed, number]), GENRES[number % len(GENRES)])


def on_the_clock(song: Song) -> Song:
    """The song at the nearest even tempo, as the clock has hands for even tempos only."""
    return replace(song, bpm=2 * round(song.bpm / 2))


def audio_of(song: Song, seconds: float) -> np.ndarray:
    """Mono audio at the starter's rate, float32 `[samples]`."""
    return render(song, seconds, SAMPLE_RATE, 1)[0]


def held_back(count: int = 16, seconds: float = 2.0) -> np.ndarray:
    """The ends of songs of the validation set, `[count, samples]`."""
    songs = [song_number(VALIDATION, number) for number in range(count)]
    return np.stack([audio_of(song, 6.0)[-round(seconds * SAMPLE_RATE) :] for song in songs])


class Pool:
    """Rendered songs, replaced one at a time, from which short cuts are drawn.

    The content depends on the number of renewals alone, so training resumes exactly.
    """

    def __init__(self, seed: int, size: int = 256, seconds: float = 8.0, renewals: int = 0) -> None:
        self.seed, self.size, self.seconds, self.renewals = seed, size, seconds, renewals
        self.audio = np.zeros((size, round(seconds * SAMPLE_RATE)), np.float32)
        for number in range(renewals, renewals + size):
            self._put(number)

    def _put(self, number: int) -> None:
        self.audio[number % self.size] = audio_of(song_number(self.seed, number), self.seconds)

    def renew(self) -> None:
        self._put(self.size + self.renewals)
        self.renewals += 1

    def cuts(self, rng: np.random.Generator, count: int, samples: int) -> np.ndarray:
        """Random cuts, float32 `[count, 1, samples]`."""
        rows = rng.integers(self.size, size=count)
        starts = rng.integers(self.audio.shape[1] - samples + 1, size=count)
        return np.stack([self.audio[row, start : start + samples] for row, start in zip(rows, starts, strict=True)])[
            :, None
        ]


class MusicCuts:
    """Random cuts of the clips that `python -m recipes.music` wrote; those of the last shards are left out."""

    HELD_SHARDS = 2

    def __init__(self, folder: Path) -> None:
        self._shards = [audio for audio, _ in Shards(folder)][: -self.HELD_SHARDS]

    def draw(self, rng: np.random.Generator, count: int, samples: int) -> np.ndarray:
        """Float32 `[count, 1, samples]`."""
        cuts = []
        for _ in range(count):
            shard = self._shards[rng.integers(len(self._shards))]
            clip = shard[rng.integers(len(shard))]
            start = rng.integers(len(clip) - samples + 1)
            cuts.append(clip[start : start + samples].astype(np.float32) / 32768)
        return np.stack(cuts)[:, None]
