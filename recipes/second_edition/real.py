"""Music by real composers, for measurements only: nothing is trained on it, and it is not in the repository."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

COMPOSERS = {
    "parrotte": "hyperrogue-music/**/hr3-*.ogg",
    "savino": "hyperrogue-music/**/hr-savino-*.ogg",
    "maxstack": "singularity-music/**/*.ogg",
    "kievernagel": "asc-music/**/*.mp3",
    "severn": "warzone2100-music/**/original_soundtrack/*.opus",
    "aftermath": "warzone2100-music/**/aftermath_soundtrack/*.opus",
    "tuxracer": "extremetuxracer-data/**/*.ogg",
    "xmoto": "xmoto-data/**/*.ogg",
}
"""Files below the folder into which the Debian packages of these names are unpacked."""
SECONDS = 12.0


@dataclass(frozen=True)
class Composer:
    """Excerpts of one composer's music.

    Attributes:
        name: short name.
        given: excerpts that go through what is measured, each float32 `[samples]`.
        held: excerpts to compare with, of other songs where there are enough.
    """

    name: str
    given: list[np.ndarray]
    held: list[np.ndarray]


def load_composers(folder: Path, rate: int, excerpts: int = 4) -> list[Composer]:
    """Every composer whose package is unpacked under `folder`, `excerpts` given and as many held.

    Raises:
        FileNotFoundError: no package is there.
    """
    found = []
    for name, pattern in COMPOSERS.items():
        lengths = {path: _seconds(path) for path in sorted(folder.glob(pattern))}
        songs = [path for path, seconds in lengths.items() if seconds > 3 * SECONDS]
        if songs:
            # Songs alternate between the sides; one on both sides gives its first half to one, its second to the other.
            given, held = [], []
            for n in range(excerpts):
                first, second = songs[2 * n % len(songs)], songs[(2 * n + 1) % len(songs)]
                given.append(_excerpt(first, (0.1 + 0.05 * n) * lengths[first], rate))
                held.append(_excerpt(second, (0.5 + 0.05 * n) * lengths[second], rate))
            found.append(Composer(name, given, held))
    if not found:
        raise FileNotFoundError(f"{folder}: unpack {', '.join(sorted({p.split('/')[0] for p in COMPOSERS.values()}))}")
    return found


def _seconds(path: Path) -> float:
    """Length of a file; 0 if FFmpeg cannot read it."""
    probe = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(path)]
    answer = subprocess.run(probe, capture_output=True)
    return float(answer.stdout) if answer.returncode == 0 else 0.0


def _excerpt(path: Path, start: float, rate: int) -> np.ndarray:
    """`SECONDS` of a song from `start`, mono."""
    command = ["ffmpeg", "-v", "error", "-ss", f"{start:.2f}", "-t", f"{SECONDS}", "-i", str(path)]
    command += ["-ac", "1", "-ar", str(rate), "-f", "f32le", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.float32).copy()
