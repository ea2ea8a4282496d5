"""How near pieces of music are to a producer's own, in a space of timbre: what they sound like, not what they play.

A piece is described by the mean and the deviation in time of its first 20 mel-frequency cepstral coefficients
(librosa's, of mono at 22,050 Hz): 40 numbers, each in units of its deviation over all music that is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import librosa
import numpy as np
import soxr
from numpy.typing import NDArray

SPACE = "mean and deviation of 20 MFCCs of mono at 22,050 Hz, standardised; distance of the means, per dimension"

_RATE = 22_050
_COEFFICIENTS = 20
_HOP = 512
# A tenth of a second, over which the level of noise hardly changes and that of music does.
_FRAME = 2_205
_EDGES = (60, 125, 250, 500, 1_000, 2_000, 4_000, 8_000)  # Hz, of the bands in which sound is looked at for structure
_SILENT = 1e-10

Description = NDArray[np.float64]


def describe(audio: NDArray[np.float32], rate: int) -> Description:
    """`[channels, samples]` at `rate` Hz as a point `[40]`."""
    mono = _mono(audio, rate)
    coefficients = librosa.feature.mfcc(
        y=mono / (np.abs(mono).max() + 1e-9), sr=_RATE, n_mfcc=_COEFFICIENTS, hop_length=_HOP
    )
    return np.concatenate([coefficients.mean(axis=1), coefficients.std(axis=1)]).astype(np.float64)


def distance(pieces: Sequence[Description], own: Sequence[Description], scale: Description) -> float:
    """Between the centres of two sets of pieces, `scale` being each dimension's unit."""
    offset = (np.mean(pieces, axis=0) - np.mean(own, axis=0)) / scale
    return float(np.sqrt(np.mean(offset**2)))


def unit(everything: Sequence[Description]) -> Description:
    """Each dimension's deviation over all pieces."""
    deviation: Description = np.std(everything, axis=0) + 1e-6
    return deviation


def is_noise(audio: NDArray[np.float32], rate: int) -> bool:
    """Whether the sound has neither tones nor rhythm: noise of any colour that does not change in time.

    In each octave of Gaussian noise the geometric mean of the power spectrum is 0.56 of the arithmetic one (exp of
    Euler's constant, negative), and the level of a tenth of a second strays by less than a decibel or two; a tone
    lowers the one, a beat raises the other.
    """
    mono = _mono(audio, rate)
    frames = len(mono) // _FRAME
    if frames < 4:
        return False
    power = np.abs(np.fft.rfft(mono[: frames * _FRAME].reshape(frames, _FRAME) * np.hanning(_FRAME))) ** 2 + _SILENT
    frequencies = np.fft.rfftfreq(_FRAME, 1 / _RATE)
    flat, strays = [], []
    for low, high in pairwise(_EDGES):
        band = power[:, (frequencies >= low) & (frequencies < high)]
        if band.mean() < 1e-6 * power.mean():
            continue  # nothing is played there
        flat.append(float(np.median(np.exp(np.log(band).mean(axis=1)) / band.mean(axis=1))))
        strays.append(float(np.std(10 * np.log10(band.mean(axis=1)))) * np.sqrt(band.shape[1]))
    if not flat:
        return False
    # The stray of a mean of n bins is 4.3 dB over the root of n or so (Hann's window makes neighbours alike).
    return bool(np.median(flat) > 0.4 and np.median(strays) < 12)


def _mono(audio: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    mono: NDArray[np.float32] = audio.mean(axis=0, dtype=np.float32)
    return mono if rate == _RATE else soxr.resample(mono, rate, _RATE, quality="HQ")
