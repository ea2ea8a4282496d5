"""What a song sounds like, as arrays small enough to keep: onsets, pitches, and a fingerprint.

This is the one file of the package that needs librosa, which takes seconds to import: only who listens pays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocessing.decode import Samples

Array = NDArray[np.float32]

RATE = 22_050  # Hz; what is above 11 kHz tells neither tempo nor key
ONSET_HOP, PITCH_HOP = 256, 2048  # samples
ONSETS_PER_SECOND = RATE / ONSET_HOP
PITCHES_PER_SECOND = RATE / PITCH_HOP

_WINDOW = 1024
_MELS = 64  # from 30 Hz to 10 kHz; the lowest 6 end at about 330 Hz, the highest 40 begin at about 1.2 kHz
_FLOOR = 1e-5  # mel power of a song at full scale that counts as silence, about 80 dB down
_AUDIBLE = 0.02  # of the peak
_CHUNK = 30 * RATE // PITCH_HOP * PITCH_HOP  # samples worked on at once, which bounds the memory
_PRINT_FRAMES = 8


@dataclass(frozen=True)
class Heard:
    """`onsets` (3, frames): how much louder low, high and all sound gets, ONSETS_PER_SECOND.

    `pitches` (84, frames): the magnitude of each semitone from C1 on, PITCHES_PER_SECOND.
    `start`: when the first sound comes, in seconds. `print` (64, frames): the spectrum's outline in dB, every 93 ms
    from then on, for finding the same song again.
    """

    onsets: Array
    pitches: Array
    start: float
    print: Array


def hear(samples: Samples) -> Heard:
    """Listen to a song: (frames,) at RATE, mono, at least a second of it, not silent."""
    import librosa

    peak = np.float32(max(samples.max(), -samples.min()))
    loud = np.concatenate([_mel_decibels(chunk / peak) for chunk in _overlapping(samples)], axis=1)
    rise = np.maximum(0, np.diff(loud, axis=1, prepend=loud[:, :1]))
    low, middle, high = (band.mean(axis=0) for band in np.split(rise, [6, 24]))
    onsets = np.stack([low, high, low + middle + high])
    tuning = librosa.estimate_tuning(y=samples[max(0, len(samples) // 2 - 10 * RATE) :][: 20 * RATE], sr=RATE)
    pitches = np.concatenate([_semitones(chunk / peak, tuning) for chunk in _pieces(samples)], axis=1)
    start = int(np.argmax((samples > _AUDIBLE * peak) | (samples < -_AUDIBLE * peak))) / RATE
    loud = loud[:, round(start * ONSETS_PER_SECOND) :]  # so that silence before it does not matter
    frames = loud.shape[1] // _PRINT_FRAMES
    coarse = loud[:, : frames * _PRINT_FRAMES].reshape(_MELS, frames, _PRINT_FRAMES).mean(axis=2)
    return Heard(onsets, pitches, start, coarse)


def _overlapping(samples: Samples) -> Iterator[Samples]:
    """Chunks whose frames of _WINDOW, ONSET_HOP apart and centred, continue each other's."""
    half = _WINDOW // 2
    for start in range(0, len(samples) + 1, _CHUNK):
        chunk = samples[max(0, start - half) : start - half + _CHUNK + _WINDOW - ONSET_HOP]
        before = half if start == 0 else 0
        after = min(half, max(0, start + _CHUNK + half - ONSET_HOP - len(samples)))
        if before + len(chunk) + after >= _WINDOW:
            yield np.pad(chunk, (before, after))


def _pieces(samples: Samples) -> Iterator[Samples]:
    """Chunks side by side; a last one too short for the longest filter is left out, if it is not the only one."""
    for start in range(0, len(samples), _CHUNK):
        piece = samples[start : start + _CHUNK]
        if not start or len(piece) >= RATE:
            yield piece


def _mel_decibels(samples: Samples) -> Array:
    """(_MELS, frames)"""
    import librosa

    power = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=_WINDOW, hop_length=ONSET_HOP, center=False, n_mels=_MELS, fmin=30, fmax=10_000
    )
    return 10 * np.log10(np.maximum(power, _FLOOR), dtype=np.float32)


def _semitones(samples: Samples, tuning: float) -> Array:
    """(84, frames)"""
    import librosa

    lowest = float(librosa.note_to_hz("C1"))
    return np.abs(librosa.cqt(samples, sr=RATE, hop_length=PITCH_HOP, fmin=lowest, n_bins=84, tuning=tuning)).astype(
        np.float32
    )
