"""Which copies of songs are found to be duplicates, and which different songs are not.

The songs are the synthesiser's and those in a folder, which are not part of this repository.
"""

from __future__ import annotations

import io
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from preprocessing.duplicates import Agreement, Alignment, Probes, Song, agree, align, duplicates
from preprocessing.features import RATE
from preprocessing.fingerprint import Fingerprint, fingerprint
from recipes.synthesiser import GENRES, render, sample_song

Sound = tuple[NDArray[np.float32], int]  # (frames, channels) and the sample rate

SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3"}
SYNTHESISED_RATE, FIRST_SEED = 44_100, 9000
SYNTHESISED_SECONDS, MAX_SECONDS = 30, 40
BLOCK = 4096  # libsndfile's Vorbis encoder crashes on longer ones


def _trimmed(samples: NDArray[np.float32], rate: int, seconds: float) -> Sound:
    return samples[round(seconds * rate) :], rate


def _delayed(samples: NDArray[np.float32], rate: int) -> Sound:
    return np.pad(samples, ((2 * rate, 0), (0, 0))), rate


def _faded(samples: NDArray[np.float32], rate: int) -> Sound:
    length = min(3 * rate, len(samples) // 6)
    gain = np.ones((len(samples), 1), np.float32)
    gain[:length, 0] = np.linspace(0, 1, length)
    gain[-length:, 0] = np.linspace(1, 0, length)
    return samples * gain, rate


def _at_speed(samples: NDArray[np.float32], rate: int, speed: float) -> Sound:
    return soxr.resample(samples, rate, rate / speed), rate


def _encoded(samples: NDArray[np.float32], rate: int, format: str, subtype: str, to: int, compression: float) -> Sound:
    given = np.clip(soxr.resample(samples, rate, to), -1, 1)
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", to, given.shape[1], format=format, subtype=subtype, compression_level=compression
    ) as encoder:
        for start in range(0, len(given), BLOCK):
            encoder.write(given[start : start + BLOCK])
    file.seek(0)
    decoded, rate = soundfile.read(file, dtype="float32", always_2d=True)
    return decoded, rate


def _equalised(samples: NDArray[np.float32], rate: int) -> Sound:
    """9 dB less above 3 kHz, 6 dB more below 150 Hz."""
    treble = sosfilt(butter(1, 3000, "high", fs=rate, output="sos"), samples, axis=0)
    bass = sosfilt(butter(1, 150, fs=rate, output="sos"), samples, axis=0)
    return (samples - 0.65 * treble + bass).astype(np.float32), rate


def _limited(samples: NDArray[np.float32], rate: int) -> Sound:
    """6 dB louder, with the peaks rounded off."""
    return np.tanh(2 * samples / np.abs(samples).max()).astype(np.float32), rate


def _several(samples: NDArray[np.float32], rate: int) -> Sound:
    """Half a second cut off, 1.5 % faster, equalised, limited, as Opus."""
    sound = _at_speed(samples[rate // 2 :], rate, 1.015)
    return _encoded(*_limited(*_equalised(*sound)), "OGG", "OPUS", 48_000, 0.9)


COPIES: dict[str, Callable[[NDArray[np.float32], int], Sound]] = {
    "0.2 s cut off": lambda samples, rate: _trimmed(samples, rate, 0.2),
    "1 s cut off": lambda samples, rate: _trimmed(samples, rate, 1),
    "2 s of silence before it": _delayed,
    "faded in and out": _faded,
    "3 % faster": lambda samples, rate: _at_speed(samples, rate, 1.03),
    "3 % slower": lambda samples, rate: _at_speed(samples, rate, 0.97),
    "MP3, low quality": lambda samples, rate: _encoded(samples, rate, "MP3", "MPEG_LAYER_III", 44_100, 0.9),
    "Ogg Vorbis, 32 kHz, 12 dB lower": lambda samples, rate: _encoded(
        samples * np.float32(0.25), rate, "OGG", "VORBIS", 32_000, 0.9
    ),
    "mono": lambda samples, rate: (samples.mean(axis=1, keepdims=True), rate),
    "equalised": _equalised,
    "limited": _limited,
    "cut, faster, equalised, limited and Opus": _several,
}


def copies(folder: str, synthesiser: int, copied: int) -> None:
    """Print how many copies of `copied` songs are found, and which different songs count as duplicates."""
    prints: dict[str, Fingerprint] = {}
    found: dict[str, list[tuple[bool, Agreement]]] = defaultdict(list)
    sounds = _sounds(folder, synthesiser)
    every = max(1, len(sounds) // copied)
    for number, (name, read) in enumerate(sounds.items()):
        samples, rate = read()
        if np.abs(samples).max(initial=0) < 0.01:
            continue
        prints[name] = _fingerprint(samples, rate)
        if number % every == 0:
            for kind, copy in COPIES.items():
                found[kind].append(_compare(prints[name], _fingerprint(*copy(samples, rate))))
            print(name, file=sys.stderr)
    for number in range(synthesiser):
        for kind, samples in _rearranged(number):
            found[kind].append(_compare(prints[f"synthesiser {number}"], _fingerprint(samples, SYNTHESISED_RATE)))
    for kind, each in found.items():
        least = min(agreement.overall for _, agreement in each), min(one.weakest_octave for _, one in each)
        most = max(agreement.overall for _, agreement in each), max(one.weakest_octave for _, one in each)
        print(
            f"{kind:42} {sum(same for same, _ in each):3} of {len(each)} duplicates;"
            f" agreement {least[0]:.2f}-{most[0]:.2f}, in the weakest octave {least[1]:.2f}-{most[1]:.2f}"
        )
    start = time.process_time()
    firsts = duplicates(list(prints.values()))
    seconds = time.process_time() - start
    names = list(prints)
    for name, first in zip(names, firsts, strict=True):
        if first is not None:
            print(f"{name} counts as {names[first]}: {_compare(prints[names[first]], prints[name])[1]}")
    false = sum(first is not None for first in firsts)
    print(f"{len(names)} different songs: {false} count as duplicates; {seconds:.1f} s of CPU time to compare them")


def _sounds(folder: str, synthesiser: int) -> dict[str, Callable[[], Sound]]:
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix in SUFFIXES) if folder else []
    sounds: dict[str, Callable[[], Sound]] = {
        f"synthesiser {number}": lambda number=number: (_rendered(_song(number)), SYNTHESISED_RATE)  # type: ignore[misc]
        for number in range(synthesiser)
    }
    return sounds | {str(path.relative_to(folder)): lambda path=path: _read(path) for path in files}  # type: ignore[misc]


def _read(path: Path) -> Sound:
    """The beginning of the song, or all of a shorter one."""
    with soundfile.SoundFile(path) as file:
        return file.read(MAX_SECONDS * file.samplerate, dtype="float32", always_2d=True), file.samplerate


def _song(number: int) -> Any:
    rng = np.random.default_rng(FIRST_SEED + number)
    return sample_song(rng, GENRES[number % len(GENRES)], drums=True)


def _rendered(song: Any) -> NDArray[np.float32]:
    return render(song, SYNTHESISED_SECONDS, SYNTHESISED_RATE, 2).T


def _rearranged(number: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Songs that share much with a song of the synthesiser and are others."""
    song = _song(number)
    other = sample_song(np.random.default_rng(100 + number), song.genre)
    same_drums = {"bpm": song.bpm, "kit": song.kit, "groove": song.groove, "drums": True, "swing": song.swing}
    yield "another key, a semitone up", _rendered(replace(song, root=(song.root + 1) % 12))
    yield "another key, a fourth up", _rendered(replace(song, root=(song.root + 5) % 12))
    yield "another song over the same drum loop", _rendered(replace(other, **same_drums))
    yield "without drums", _rendered(replace(song, drums=False))
    yield "with another lead instrument", _rendered(replace(song, melody="pluck" if song.melody != "pluck" else "bell"))


def _fingerprint(samples: NDArray[np.float32], rate: int) -> Fingerprint:
    return fingerprint(soxr.resample(samples.mean(axis=1), rate, RATE))


def _compare(first: Fingerprint, later: Fingerprint) -> tuple[bool, Agreement]:
    """Whether they count as one song, and how far they agree where they match best."""
    longest = max(first.shape[1], later.shape[1])
    one, other = Song(first, longest), Song(later, longest)
    alignment: Alignment | None = align(one, Probes(other))
    agreement = agree(one, other, alignment) if alignment else Agreement()
    return duplicates([first, later]) == [None, 0], agreement
