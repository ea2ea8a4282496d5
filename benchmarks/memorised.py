"""Which excerpts of a twin's training pieces are found to be memorised, and which of the producer's other pieces.

    python -m benchmarks.memorised packages/ [--pairs 200] [--seconds 12]

The folder is that of `benchmarks.real.prepare`: packages of free game music. Of each composer every other song is
trained on. Excerpts of these songs are taken at random places, change their speed by up to 3 % and their key by up to
two semitones, and half of them become MP3s of 64 kbit/s. Excerpts of the other songs stay as they are. Each is compared
with all segments of its composer, as a track with its twin's. FFmpeg needs its filter `rubberband`.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocessing.decoders import Samples
from preprocessing.features import RATE
from preprocessing.memorised import MEMORISED_SIMILARITY, Nearest, TrainingSegments, fingerprint_of
from preprocessing.segment import SEGMENT_SECONDS
from recipes.second_edition.real import COMPOSERS

_MAX_SONG_SECONDS = 180
_MIN_SONGS = 3
_MIN_LEVEL = 0.01  # root mean square; quieter excerpts are drawn again
_SPEEDS, _SEMITONES = (0.97, 1.03), (-2, 2)
_MP3 = ("-b:a", "64k", "-f", "mp3")


@dataclass(frozen=True)
class Twin:
    """A composer's music.

    Attributes:
        trained: songs that were trained on.
        others: songs that were not.
        segments: of the former.
        songs: the song of each segment, by its number.
    """

    name: str
    trained: dict[str, Samples]
    others: dict[str, Samples]
    segments: TrainingSegments
    songs: list[str]


@dataclass(frozen=True)
class Found:
    """What an excerpt was found to repeat.

    Attributes:
        excerpt: the composer, the song, and what was done to it.
        right: whether the segment is of the same song.
        seconds: CPU time of the comparison, without the fingerprint.
    """

    excerpt: str
    nearest: Nearest
    right: bool
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="the folder into which the packages are unpacked")
    parser.add_argument("--pairs", type=int, default=200, help="excerpts of either kind")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of an excerpt")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    twins = [
        twin for name, pattern in COMPOSERS.items() if (twin := read(name, sorted(options.packages.glob(pattern))))
    ]
    for twin in twins:
        size = len(twin.segments.write()) / 1024
        print(f"{twin.name}: {len(twin.trained)} songs, {len(twin.segments)} segments ({size:.0f} KiB), ", end="")
        print(f"{len(twin.others)} other songs")
    rng = np.random.default_rng(options.seed)
    copies = [_compared(twin, options.seconds, rng, copied=True) for twin in _turns(twins, options.pairs)]
    others = [_compared(twin, options.seconds, rng, copied=False) for twin in _turns(twins, options.pairs)]
    for title, found in (("training pieces", copies), ("other pieces", others)):
        similarities = np.array([each.nearest.similarity for each in found])
        memorised = sum(each.nearest.memorised for each in found)
        low, middle, high = np.quantile(similarities, (0.01, 0.5, 0.99))
        print(f"{title}: {memorised} of {len(found)} are memorised ({memorised / len(found):.3f}); ", end="")
        print(f"similarity {low:.2f} {middle:.2f} {high:.2f} (1 %, median, 99 %)")
    print(f"the right song: {sum(each.right for each in copies)} of {len(copies)}")
    seconds = [each.seconds for each in copies + others]
    print(f"{np.mean(seconds):.3f} s of CPU time each, {max(seconds):.3f} s at most")
    for each in (*(c for c in copies if not c.nearest.memorised), *(o for o in others if o.nearest.memorised)):
        print(f"{each.nearest.similarity:.3f} {each.excerpt}")
    print(f"The threshold is {MEMORISED_SIMILARITY}.")


def read(name: str, paths: list[Path]) -> Twin | None:
    """The music of a composer; None for too few songs. Files that FFmpeg cannot read are left out."""
    songs: dict[str, Samples] = {}
    for path in paths:
        audio = _ffmpeg(["-t", str(_MAX_SONG_SECONDS), "-i", str(path)])
        if len(audio) >= 2 * SEGMENT_SECONDS * RATE:
            songs[path.stem] = audio
    if len(songs) < _MIN_SONGS:
        return None
    trained = dict(list(songs.items())[::2])
    segments = TrainingSegments()
    origins: list[str] = []
    for song, audio in trained.items():
        for start in range(0, len(audio), SEGMENT_SECONDS * RATE):
            segments.add(len(origins), audio[start : start + SEGMENT_SECONDS * RATE], RATE, song)
            origins.append(song)
    return Twin(name, trained, {song: audio for song, audio in songs.items() if song not in trained}, segments, origins)


def _turns(twins: list[Twin], count: int) -> list[Twin]:
    return [twins[number % len(twins)] for number in range(count)]


def _compared(twin: Twin, seconds: float, rng: np.random.Generator, copied: bool) -> Found:
    """An excerpt of a song that the twin was trained on, or of another one, compared with all its segments."""
    songs = twin.trained if copied else twin.others
    while True:
        song = str(rng.choice(list(songs)))
        length = round(seconds * RATE)
        start = int(rng.integers(max(1, len(songs[song]) - length)))
        audio = songs[song][start : start + length]
        if np.sqrt(np.mean(audio**2)) >= _MIN_LEVEL:
            break
    excerpt = f"{twin.name}, {song}, from {start / RATE:.1f} s"
    if copied:
        audio, change = _changed(audio, rng)
        excerpt += f", {change}"
    fingerprint = fingerprint_of(audio, RATE)
    assert fingerprint is not None
    began = time.process_time()
    nearest = twin.segments.nearest(fingerprint)
    assert nearest is not None
    return Found(excerpt, nearest, twin.songs[nearest.segment] == song, time.process_time() - began)


def _changed(audio: Samples, rng: np.random.Generator) -> tuple[Samples, str]:
    """The audio at another speed and in another key, as an MP3 in half of all cases; and in words how."""
    speed = float(rng.choice([*_SPEEDS, rng.uniform(*_SPEEDS)]))
    semitones, with_speed, is_mp3 = int(rng.integers(_SEMITONES[0], _SEMITONES[1] + 1)), *(rng.random(2) < 0.5)
    pitch = 2 ** (semitones / 12) * (speed if with_speed else 1)
    raw = ["-f", "f32le", "-ar", str(RATE), "-ac", "1"]
    changed = _ffmpeg([*raw, "-i", "-"], audio.tobytes(), f"rubberband=tempo={speed}:pitch={pitch}")
    if is_mp3:
        command = ["ffmpeg", "-v", "error", *raw, "-i", "-", *_MP3, "-"]
        encoded = subprocess.run(command, input=changed.tobytes(), check=True, capture_output=True).stdout
        changed = _ffmpeg(["-f", "mp3", "-i", "-"], encoded)
    return changed, f"speed {speed:.3f}, pitch {pitch:.3f}{', MP3' if is_mp3 else ''}"


def _ffmpeg(source: list[str], given: bytes = b"", audio_filter: str = "anull") -> Samples:
    """Mono at `RATE`; empty if FFmpeg cannot read the source."""
    command = ["ffmpeg", "-v", "error", *source, "-af", audio_filter, "-ac", "1", "-ar", str(RATE), "-f", "f32le", "-"]
    answer = subprocess.run(command, input=given, capture_output=True)
    return np.frombuffer(answer.stdout if answer.returncode == 0 else b"", np.float32)


if __name__ == "__main__":
    main()
