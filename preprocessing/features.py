"""Audio features of a song: onset envelopes and a constant-Q transform.

The only file of the package that needs librosa, which takes seconds to import; so it is imported on first use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocessing.decoders import Samples

Array = NDArray[np.float32]

RATE = 22_050  # Hz; sound above 11 kHz helps with neither tempo nor key
ONSET_HOP, CQT_HOP = 256, 2048  # samples
ONSET_FRAME_RATE = RATE / ONSET_HOP
CQT_FRAME_RATE = RATE / CQT_HOP

_WINDOW = 1024  # samples
_MEL_BANDS = 64  # from 30 Hz to 10 kHz
_BAND_EDGES = (6, 24)  # mel bands: low sound is up to about 330 Hz, high sound from about 1.2 kHz
_MIN_MEL_POWER = 1e-5  # about 80 dB below a song at full scale
_AUDIBLE_SHARE = 0.02  # of the peak
_CHUNK = 30 * RATE // CQT_HOP * CQT_HOP  # samples processed at once, which bounds the memory


@dataclass(frozen=True)
class Features:
    """Audio features of one song.

    Attributes:
        onset_envelopes: (3, frames) spectral flux of low, of high and of all sound, ONSET_FRAME_RATE frames a second.
        cqt: (84, frames) magnitude of each semitone from C1 up, CQT_FRAME_RATE frames a second.
        first_sound: when the first sound begins.
    """

    onset_envelopes: Array
    cqt: Array
    first_sound: float


def extract(samples: Samples) -> Features:
    """Compute the features of mono samples (frames,) at RATE: at least one second, not silent."""
    import librosa

    peak = np.float32(max(samples.max(), -samples.min()))
    mel = np.concatenate([_mel_decibels(chunk / peak) for chunk in _overlapping_chunks(samples)], axis=1)
    flux = np.maximum(0, np.diff(mel, axis=1, prepend=mel[:, :1]))
    low, middle, high = (bands.mean(axis=0) for bands in np.split(flux, _BAND_EDGES))
    onset_envelopes = np.stack([low, high, low + middle + high])
    tuning = librosa.estimate_tuning(y=samples[max(0, len(samples) // 2 - 10 * RATE) :][: 20 * RATE], sr=RATE)
    cqt = np.concatenate([_cqt(chunk / peak, tuning) for chunk in _adjacent_chunks(samples)], axis=1)
    threshold = _AUDIBLE_SHARE * peak
    first_sound = int(np.argmax((samples > threshold) | (samples < -threshold))) / RATE
    return Features(onset_envelopes, cqt, first_sound)


def _overlapping_chunks(samples: Samples) -> Iterator[Samples]:
    """Chunks that overlap by a window, so that centred frames ONSET_HOP apart continue from one chunk to the next."""
    half = _WINDOW // 2
    for start in range(0, len(samples) + 1, _CHUNK):
        chunk = samples[max(0, start - half) : start - half + _CHUNK + _WINDOW - ONSET_HOP]
        before = half if start == 0 else 0
        after = min(half, max(0, start + _CHUNK + half - ONSET_HOP - len(samples)))
        if before + len(chunk) + after >= _WINDOW:
            yield np.pad(chunk, (before, after))


def _adjacent_chunks(samples: Samples) -> Iterator[Samples]:
    """Chunks without overlap; a last one too short for the longest filter is dropped, unless it is the first."""
    for start in range(0, len(samples), _CHUNK):
        chunk = samples[start : start + _CHUNK]
        if not start or len(chunk) >= RATE:
            yield chunk


def _mel_decibels(samples: Samples) -> Array:
    """Mel spectrogram in dB, (_MEL_BANDS, frames)."""
    import librosa

    power = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=_WINDOW, hop_length=ONSET_HOP, center=False, n_mels=_MEL_BANDS, fmin=30, fmax=10_000
    )
    return 10 * np.log10(np.maximum(power, _MIN_MEL_POWER), dtype=np.float32)


def _cqt(samples: Samples, tuning: float) -> Array:
    """Magnitudes of the constant-Q transform, (84, frames); `tuning` in fractions of a semitone."""
    import librosa

    lowest = float(librosa.note_to_hz("C1"))
    return np.abs(librosa.cqt(samples, sr=RATE, hop_length=CQT_HOP, fmin=lowest, n_bins=84, tuning=tuning)).astype(
        np.float32
    )
