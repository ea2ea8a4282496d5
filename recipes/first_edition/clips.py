"""Encoded songs on disk, in shards of 40: the models' training data."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from ..synthesiser import Song
from .data import TRAINING, audio_of, on_the_clock, song_number
from .prompts import lacks_drums

SONGS_PER_SHARD = 40
"""Five of each genre."""
LOOP_SECONDS = 12.0
LONG_SECONDS = (30.0, 60.0)
VALIDATION_CLIPS = 40


@dataclass
class Clip:
    song: Song
    seconds: float
    frames: torch.Tensor
    """`[T, C]`: latents in half precision, or codes."""


C = TypeVar("C", bound=Clip)


def seconds_of(number: int) -> float:
    """The length of song `number`: one of seventeen is long enough to have a form, the others are loops."""
    if number % 17:
        return LOOP_SECONDS
    return float(np.random.default_rng([TRAINING, number, 1]).choice(LONG_SECONDS))


def write_clips(folder: Path, first: int, songs: int, encode: Callable[[np.ndarray], torch.Tensor]) -> None:
    """Encode the validation clips, and `songs` songs from number `first`; existing files are kept.

    Args:
        encode: mono audio `[samples]` to frames `[T, C]`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = (0, *range(first // SONGS_PER_SHARD * SONGS_PER_SHARD, first + songs, SONGS_PER_SHARD))
    for shard in shards:
        path = folder / f"{shard:06d}.pt"
        if path.exists():
            continue
        rows: list[dict[str, object]] = []
        for number in range(shard, shard + SONGS_PER_SHARD):
            song, seconds = on_the_clock(song_number(TRAINING, number)), seconds_of(number)
            frames = encode(audio_of(song, seconds))
            rows.append({"song": json.dumps(song.as_dict()), "seconds": seconds, "frames": frames})
        partial = path.with_suffix(".partial")
        torch.save(rows, partial)
        partial.rename(path)
        print(f"{folder.name} {shard + SONGS_PER_SHARD}/{first + songs}", flush=True)


def load_clip(row: dict[str, Any]) -> Clip:
    """A clip from its row in a file."""
    return Clip(Song(**json.loads(row["song"])), row["seconds"], row["frames"])


class Library(Generic[C]):
    """All encoded clips; `refresh` reads new files, so that songs can be encoded during training.

    Args:
        load: makes a clip from its row in a file.
    """

    def __init__(self, folder: Path, load: Callable[[dict[str, Any]], C]) -> None:
        self.folder, self.known, self.clips, self._load = folder, set[Path](), list[C](), load
        self.refresh()

    def refresh(self) -> None:
        for path in sorted(set(self.folder.glob("*.pt")) - self.known):
            self.known.add(path)
            self.clips += [self._load(row) for row in torch.load(path, weights_only=True)]

    def of_seconds(self, seconds: float) -> list[C]:
        return [clip for clip in self.clips if clip.seconds == seconds]


def for_training(library: Library[C], *seconds: float) -> list[C]:
    """The clips of these lengths, without the validation clips."""
    held = {id(clip) for clip in library.clips[:VALIDATION_CLIPS]}
    return [clip for length in seconds for clip in library.of_seconds(length) if id(clip) not in held]


def draw(stock: list[C], count: int, drumless: float, rng: np.random.Generator) -> list[C]:
    """Draw clips at random, and a share `drumless` of them from those without drums in genres that have them.

    Only one song in eight is such a one: too few to learn what "no drums" means in each genre.
    """
    rare = [clip for clip in stock if lacks_drums(clip.song)]
    stocks = [rare if rare and other else stock for other in rng.random(count) < drumless]
    return [clips[rng.integers(len(clips))] for clips in stocks]


def phrase_starts(clip: Clip, length: int, frames: Callable[[float], int]) -> list[int]:
    """The frames where a phrase begins with `length` frames left; `frames` converts seconds to frames."""
    starts = [frames(n * 4 * clip.song.bar_seconds) for n in range(8)]
    return [start for start in starts if start + length <= len(clip.frames)]
