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
from pathlib import Path

from recipes.starter.real import COMPOSERS

_MIN_SONGS, _MAX_TRAIN, _MAX_HELD = 5, 6, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="the folder into which the packages are unpacked")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each song")
    options = parser.parse_args()
    for name, pattern in COMPOSERS.items():
        songs = {path: length_of(path) for path in sorted(options.packages.glob(pattern))}
        songs = {path: length for path, length in songs.items() if length >= options.seconds / 2}
        if songs:
            write_composer(songs, options.folder / name, options.seconds)
            print(f"{name}: {len(songs)} songs")


def write_composer(songs: dict[Path, float], folder: Path, seconds: float) -> None:
    """Write the excerpts of a composer's songs, given with their lengths in seconds."""
    if len(songs) < _MIN_SONGS:
        for path, length in songs.items():
            half = min(seconds, length / 2)
            write_excerpt(path, folder / "train", length / 2 - half, half)
            write_excerpt(path, folder / "held", length / 2, half)
        return
    held = list(songs)[1::3][:_MAX_HELD]
    train = [path for path in songs if path not in held][:_MAX_TRAIN]
    for part, paths in (("train", train), ("held", held)):
        for path in paths:
            write_excerpt(path, folder / part, max(0.0, songs[path] - seconds) / 2, seconds)


def write_excerpt(path: Path, folder: Path, start: float, seconds: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = ["ffmpeg", "-y", "-v", "error", "-ss", f"{start:.2f}", "-t", f"{seconds:.2f}", "-i", str(path)]
    subprocess.run([*command, "-map", "0:a", "-c:a", "flac", str(folder / f"{path.stem}.flac")], check=True)


def length_of(path: Path) -> float:
    """Seconds; 0 if FFmpeg cannot read the file."""
    probe = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(path)]
    answer = subprocess.run(probe, capture_output=True)
    return float(answer.stdout) if answer.returncode == 0 else 0.0


if __name__ == "__main__":
    main()
