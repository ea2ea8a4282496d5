"""The training segment that a track repeats, also in another key or at another speed.

Both are compared as levels of semitones a fifth of a second apart (preprocessing.fingerprint, pooled), less the mean of
each band over some seconds, so that equalisation does not count. Windows of five seconds of the track are moved along
each segment, in quarter tones up and down and at five speeds. The similarity is the highest normalised
cross-correlation of any of them: about 1 for a copy.
"""

from __future__ import annotations

import io
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from preprocessing.decoders import Samples
from preprocessing.duplicates import interpolated, whiten
from preprocessing.features import RATE
from preprocessing.fingerprint import (
    BANDS_PER_OCTAVE,
    FRAME_RATE,
    OCTAVES,
    STEPS_PER_DECIBEL,
    Fingerprint,
    fingerprint,
)
from preprocessing.levels import SILENCE

Array = NDArray[np.float32]
# The levels of each semitone over time, (bands, frames), in quarter decibels from their mean.
Outline = NDArray[np.int8]

MEMORISED_SIMILARITY = 0.7

_POOLED_FRAMES, _POOLED_BANDS = 4, 2
_SEMITONES = OCTAVES * BANDS_PER_OCTAVE // _POOLED_BANDS
_RATE = FRAME_RATE / _POOLED_FRAMES
_WINDOW_SECONDS, _HOP_SECONDS = 5.0, 2.5
_WINDOW, _HOP = round(_WINDOW_SECONDS * _RATE), round(_HOP_SECONDS * _RATE)  # pooled frames
_QUARTER_TONES = range(-5, 6)  # two semitones, and what a change of speed by 3 % adds
_SPEEDS = (0.97, 0.985, 1.0, 1.015, 1.03)
_MIN_DEVIATION = 1.0  # dB; a steadier window has too little to be recognised by, and counts as less similar


@dataclass(frozen=True)
class Nearest:
    """The training segment that a track repeats most.

    Attributes:
        segment: its number in the dataset.
        similarity: at most 1.
    """

    segment: int
    similarity: float

    @property
    def memorised(self) -> bool:
        """Whether the track repeats the segment."""
        return self.similarity >= MEMORISED_SIMILARITY


class TrainingSegments:
    """The segments that a twin was trained on, as they are compared with tracks.

    A long segment may be in it in several parts. Parts of less than five seconds are left out. Where two segments of a
    song follow each other, the music around the cut is a part too, as a short track may cross it.
    """

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._outlines: list[Outline] = []
        self._last: tuple[Hashable, int, Samples] | None = None  # song, number and end of the segment before

    def __len__(self) -> int:
        """The number of parts."""
        return len(self._numbers)

    def add(self, number: int, audio: Samples, rate: int, song: Hashable = None) -> None:
        """Add mono audio of segment `number`, unless it is silent or too short.

        Args:
            song: identifies the recording that it was cut from, of which the segments come in their order.
        """
        self._add(number, audio, rate)
        beside = round(_WINDOW_SECONDS * rate)
        if song is not None and self._last and self._last[0] == song:
            _, before, end = self._last
            self._add(before, np.concatenate([end, audio[:beside]]), rate)
        self._last = (song, number, audio[-beside:])

    def _add(self, number: int, audio: Samples, rate: int) -> None:
        found = fingerprint_of(audio, rate)
        if found is not None and found.shape[1] >= _WINDOW * _POOLED_FRAMES:
            levels = _semitones(_whitened(found))
            self._numbers.append(number)
            self._outlines.append(np.rint(levels * STEPS_PER_DECIBEL).astype(np.int8))

    def nearest(self, track: Fingerprint) -> Nearest | None:
        """The segment that a track repeats most; None if there is none, or the track is shorter than five seconds."""
        windows = _windows_of_track(track)
        if not len(windows):
            return None
        best: Nearest | None = None
        for number, outline in zip(self._numbers, self._outlines, strict=True):
            places = _unit(_windows(np.divide(outline, STEPS_PER_DECIBEL, dtype=np.float32), 1))
            similarity = float((windows @ places.T).max())
            if best is None or similarity > best.similarity:
                best = Nearest(number, similarity)
        return best

    def nearest_to(self, audio: Samples, rate: int) -> Nearest | None:
        """The segment that mono audio repeats most; None also for silence."""
        found = fingerprint_of(audio, rate)
        return None if found is None else self.nearest(found)

    def write(self) -> bytes:
        """The segments as an `.npz` file."""
        file = io.BytesIO()
        np.savez_compressed(
            file,
            numbers=np.array(self._numbers, np.int64),
            frames=np.array([outline.shape[1] for outline in self._outlines], np.int64),
            levels=np.concatenate([np.empty((_SEMITONES, 0), np.int8), *self._outlines], axis=1),
        )
        return file.getvalue()

    @classmethod
    def read(cls, data: bytes) -> TrainingSegments:
        """The segments of a file that `write` made."""
        segments = cls()
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            segments._numbers = stored["numbers"].tolist()
            segments._outlines = np.split(stored["levels"], np.cumsum(stored["frames"]), axis=1)[:-1]
        return segments


def fingerprint_of(audio: Samples, rate: int) -> Fingerprint | None:
    """The fingerprint of mono audio; None for silence."""
    samples = soxr.resample(audio, rate, RATE).astype(np.float32, copy=False)
    peak = max(samples.max(initial=0), -samples.min(initial=0))
    return None if peak < SILENCE else fingerprint(samples)


def _whitened(found: Fingerprint) -> Array:
    """Pooled over time, in decibels from the mean over some seconds: (quarter tones, frames)."""
    frames = found.shape[1] // _POOLED_FRAMES
    pooled = found[:, : frames * _POOLED_FRAMES].reshape(len(found), frames, _POOLED_FRAMES)
    return whiten(pooled.mean(axis=2, dtype=np.float32), _RATE)


def _semitones(levels: Array) -> Array:
    mean: Array = levels.reshape(-1, _POOLED_BANDS, levels.shape[1]).mean(axis=1)
    return mean


def _windows_of_track(track: Fingerprint) -> Array:
    """The windows of a track in each key and at each speed, each of unit energy, (windows, levels)."""
    if track.shape[1] < _WINDOW * _POOLED_FRAMES:
        return np.empty((0, 0), np.float32)
    levels = _whitened(track)
    quarter_tones, frames = levels.shape
    found = []
    for speed in _SPEEDS:
        # The last window of a short track is kept at each speed.
        times = np.arange(max(_WINDOW, int(frames / speed)), dtype=np.float64) * speed
        at_speed = interpolated(levels.T, times).T
        for shift in _QUARTER_TONES:
            shifted = np.zeros_like(at_speed)
            shifted[max(0, shift) : quarter_tones + shift] = at_speed[max(0, -shift) : quarter_tones - shift]
            found.append(_windows(_semitones(shifted), _HOP))
    return _unit(np.concatenate(found))


def _windows(levels: Array, hop: int) -> Array:
    """The windows that begin every `hop` frames, (windows, levels)."""
    views = np.lib.stride_tricks.sliding_window_view(levels, _WINDOW, axis=1)[:, ::hop]
    return views.transpose(1, 0, 2).reshape(-1, len(levels) * _WINDOW)


def _unit(windows: Array) -> Array:
    """The windows with an energy of 1; steady ones have less."""
    energy = np.linalg.norm(windows, axis=1, keepdims=True)
    scaled: Array = windows / np.maximum(energy, _MIN_DEVIATION * windows.shape[1] ** 0.5)
    return scaled
