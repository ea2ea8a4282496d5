"""Encoded songs on disk, a file for every 40: the models' training data."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..synthesiser import Song
from .data import TRAINING, audio_of, on_the_clock, song_number
from .prompts import lacks_drums

SHARD = 40
"""Songs to a file: five of each genre."""
LOOP_SECONDS = 12.0
LONG_SECONDS = (30.0, 60.0)
HELD_BACK = 40
"""Clips kept for the validation loss."""


@dataclass
class Clip:
    song: Song
    seconds: float
    frames: torch.Tensor
    """`[T, C]`: latents in half precision, or codes."""


def seconds_of(number: int) -> float:
    """Of seventeen songs one is long enough to have a form, the others are loops."""
    if number % 17:
        return LOOP_SECONDS
    return float(np.random.default_rng([TRAINING, number, 1]).choice(LONG_SECONDS))


def write_clips(folder: Path, first: int, songs: int, encode: Callable[[np.ndarray], torch.Tensor]) -> None:
    """Encode those that are held back and `songs` songs from the one numbered `first`; existing files are left alone.

    Args:
        encode: mono audio `[samples]` to frames `[T, C]`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = (0, *range(first // SHARD * SHARD, first + songs, SHARD))
    for shard in shards:
        path = folder / f"{shard:06d}.pt"
        if path.exists():
            continue
        rows: list[dict[str, object]] = []
        for number in range(shard, shard + SHARD):
            song, seconds = on_the_clock(song_number(TRAINING, number)), seconds_of(number)
            frames = encode(audio_of(song, seconds))
            rows.append({"song": json.dumps(song.as_dict()), "seconds": seconds, "frames": frames})
        partial = path.with_suffix(".partial")
        torch.save(rows, partial)
        partial.rename(path)
        print(f"{folder.name} {shard + SHARD}/{first + songs}", flush=True)


class Library:
    """All encoded clips; looks for new files when asked, so encoding can go on beside training."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.known, self.clips = folder, set[Path](), list[Clip]()
        self.refresh()

    def refresh(self) -> None:
        for path in sorted(set(self.folder.glob("*.pt")) - self.known):
            self.known.add(path)
            for row in torch.load(path, weights_only=True):
                self.clips.append(Clip(Song(**json.loads(row["song"])), row["seconds"], row["frames"]))

    def of_seconds(self, seconds: float) -> list[Clip]:
        return [clip for clip in self.clips if clip.seconds == seconds]


def for_training(library: Library, *seconds: float) -> list[Clip]:
    """The clips of these lengths that are not held back."""
    held = {id(clip) for clip in library.clips[:HELD_BACK]}
    return [clip for length in seconds for clip in library.of_seconds(length) if id(clip) not in held]


def draw(stock: list[Clip], count: int, drumless: float, rng: np.random.Generator) -> list[Clip]:
    """Clips at random, and for a share of them one that goes without drums where its genre has them.

    One song in eight does: few to learn from that "no drums" is to be heeded, and what is left of a genre then.
    """
    rare = [clip for clip in stock if lacks_drums(clip.song)]
    stocks = [rare if rare and other else stock for other in rng.random(count) < drumless]
    return [clips[rng.integers(len(clips))] for clips in stocks]


def phrase_starts(clip: Clip, length: int, frames: Callable[[float], int]) -> list[int]:
    """The frames on which a phrase begins that leave `length` frames of the clip; `frames` counts those in seconds."""
    starts = [frames(n * 4 * clip.song.bar_seconds) for n in range(8)]
    return [start for start in starts if start + length <= len(clip.frames)]
