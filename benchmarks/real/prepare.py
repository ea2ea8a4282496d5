"""Make the folders that `python -m benchmarks.real` reads, from packages of free game music.

    for package in hyperrogue-music singularity-music asc-music warzone2100-music extremetuxracer-data xmoto-data; do
        apt-get download $package && dpkg-deb -x $package*.deb packages/$package
    done
    python -m benchmarks.real.prepare packages/ composers/

Writes excerpts as FLAC, with the songs' tags: `<composer>/train/` and `<composer>/held/`. The songs of the two are
different; a composer of fewer than five songs has the first half of each in `train/` and the second in `held/`. The
music is for measuring only: its licences (CC BY-SA, GPL) do not allow it in weights or in this repository.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recipes.second_edition.real import COMPOSERS

_MIN_SONGS, _MAX_TRAIN, _MAX_HELD = 5, 6, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="the folder into which the packages are unpacked")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each song; one of less than half is left out")
    options = parser.parse_args()
    for name, pattern in COMPOSERS.items():
        songs = {path: length_of(path) for path in sorted(options.packages.glob(pattern))}
        songs = {path: length for path, length in songs.items() if length >= options.seconds / 2}
        if songs:
            for excerpt in plan(songs, options.seconds):
                write(excerpt, options.folder / name)
            print(f"{name}: {len(songs)} songs")


@dataclass(frozen=True)
class Excerpt:
    """A part of a song, to be written to a composer's folder.

    Attributes:
        part: `train` or `held`.
        path: of the song's file.
        start, seconds: where it begins in the song, and its length.
    """

    part: str
    path: Path
    start: float
    seconds: float


def plan(songs: Mapping[Path, float], seconds: float) -> list[Excerpt]:
    """The excerpts of a composer's songs, which are given with their lengths in seconds."""
    if len(songs) < _MIN_SONGS:
        halves = [(path, length / 2, min(seconds, length / 2)) for path, length in songs.items()]
        return [Excerpt("train", path, middle - half, half) for path, middle, half in halves] + [
            Excerpt("held", path, middle, half) for path, middle, half in halves
        ]
    held = list(songs)[1::3][:_MAX_HELD]
    train = [path for path in songs if path not in held][:_MAX_TRAIN]
    parts = dict.fromkeys(train, "train") | dict.fromkeys(held, "held")
    return [
        Excerpt(part, path, max(0.0, songs[path] - seconds) / 2, min(seconds, songs[path]))
        for path, part in parts.items()
    ]


def write(excerpt: Excerpt, folder: Path) -> None:
    """Write an excerpt into a composer's folder."""
    (folder / excerpt.part).mkdir(parents=True, exist_ok=True)
    span = ["-ss", f"{excerpt.start:.2f}", "-t", f"{excerpt.seconds:.2f}"]
    file = folder / excerpt.part / f"{excerpt.path.stem}.flac"
    command = ["ffmpeg", "-y", "-v", "error", *span, "-i", str(excerpt.path), "-map", "0:a", "-c:a", "flac", str(file)]
    subprocess.run(command, check=True)


def length_of(path: Path) -> float:
    """Seconds; 0 if FFmpeg cannot read the file."""
    probe = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(path)]
    answer = subprocess.run(probe, capture_output=True)
    return float(answer.stdout) if answer.returncode == 0 else 0.0


if __name__ == "__main__":
    main()
