"""Real composers' music in a folder: `<composer>/train/` and `<composer>/held/`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr

from training.evaluation.audio_measures import Audio

# What is measured at once: clips that were made or chosen with one seed.
ClipSet = list[Audio]


@dataclass(frozen=True)
class Composer:
    """A composer's music, in two parts.

    Attributes:
        train: the files that the twin is trained on.
        held: files to compare with.
    """

    name: str
    train: list[Path]
    held: list[Path]


def read_composers(folder: Path, names: list[str] | None = None) -> list[Composer]:
    """The composers of a folder, or those of them with these names.

    Raises:
        FileNotFoundError: a composer has no music in `train/` or in `held/`, or the folder has no composer.
    """
    composers = []
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        if names is None or path.name in names:
            train, held = (_files(path / part) for part in ("train", "held"))
            composers.append(Composer(path.name, train, held))
    if not composers:
        raise FileNotFoundError(f"{folder}: there is no folder of a composer; see benchmarks.real.prepare")
    return composers


def _files(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.glob("*") if path.is_file())
    if not files:
        raise FileNotFoundError(f"{folder}: there is no music")
    return files


def draw(files: list[Path], sets: int, clips: int, seconds: float, rate: int, seed: int) -> list[ClipSet]:
    """Random excerpts, mono at `rate` Hz; the files take turns."""
    rng = np.random.default_rng(seed)
    drawn = []
    for number in range(sets * clips):
        song = read(files[number % len(files)], rate)
        length = min(len(song), round(seconds * rate))
        start = int(rng.integers(len(song) - length + 1))
        drawn.append(song[start : start + length])
    return [drawn[first : first + clips] for first in range(0, len(drawn), clips)]


@lru_cache(maxsize=64)
def read(path: Path, rate: int) -> Audio:
    """A file, mono at `rate` Hz."""
    audio, own_rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono: Audio = soxr.resample(audio.mean(axis=1), own_rate, rate, quality="HQ")
    return mono
