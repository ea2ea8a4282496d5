"""Peak, loudness (LUFS), clipping and silence of a song, measured while it streams."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from preprocessing.decoders import Samples

SILENCE = 10 ** (-60 / 20)  # −60 dBFS
FULL_SCALE = 0.9999
MIN_CLIPPED_RUN = 3  # consecutive samples at full scale; a single one may be a normalised peak
TRUE_PEAK_OVERSAMPLING = 4  # BS.1770-4, annex 2
STEP_SECONDS = 0.1  # the hop of the 0.4 s loudness blocks


@dataclass(frozen=True)
class Levels:
    """Levels of one song.

    Attributes:
        peak: dBFS; None for digital silence.
        loudness: integrated, in LUFS (ITU-R BS.1770-4); None for what is too short or too quiet.
        clipped: number of samples in runs at full scale.
        silent: seconds below −60 dBFS.
    """

    seconds: float
    peak: float | None
    loudness: float | None
    clipped: int
    silent: float


class LevelMeter:
    """Measures blocks of (frames, channels) at `rate` Hz, in constant memory but for 80 bytes a second."""

    def __init__(self, rate: int, channels: int) -> None:
        self._rate = rate
        self._filter = _k_weighting(rate)
        self._state = np.zeros((len(self._filter), 2, channels))
        self._step = round(STEP_SECONDS * rate)
        self._remainder = np.empty((0, channels), np.float32)
        self._energies: list[NDArray[np.float64]] = []
        self._weights = _channel_weights(channels)
        self._frames = self._silent = self._clipped = 0
        self._peak = 0.0

    def add(self, block: Samples) -> None:
        self._frames += len(block)
        peak = float(np.abs(block).max(initial=0))
        self._peak = max(self._peak, peak)
        if peak >= FULL_SCALE:
            self._clipped += _clipped(block)
        joined = np.concatenate([self._remainder, block])
        whole = len(joined) - len(joined) % self._step
        steps, self._remainder = joined[:whole], joined[whole:]
        if not whole:
            return
        from scipy.signal import sosfilt

        by_step = steps.reshape(-1, self._step, steps.shape[1])
        self._silent += self._step * int(np.count_nonzero(np.abs(by_step).max(axis=(1, 2)) < SILENCE))
        weighted, self._state = sosfilt(self._filter, steps, axis=0, zi=self._state)
        power = np.einsum("stc,stc,c->s", *[weighted.reshape(by_step.shape)] * 2, self._weights)
        self._energies.append(power / self._step)

    def levels(self) -> Levels:
        """The levels of all blocks so far."""
        energies = np.concatenate([np.empty(0), *self._energies])
        peak = 20 * math.log10(self._peak) if self._peak > 0 else None
        return Levels(
            round(self._frames / self._rate, 3),
            peak and round(peak, 2),
            _integrated_loudness(energies),
            self._clipped,
            round(self._silent / self._rate, 1),
        )


def true_peak(samples: Samples, rate: int) -> float:
    """The peak of (frames, channels) between the samples too, in dBTP; -inf for digital silence."""
    peak = float(np.abs(soxr.resample(samples, rate, TRUE_PEAK_OVERSAMPLING * rate)).max(initial=0))
    return 20 * math.log10(peak) if peak else -math.inf


def _clipped(block: Samples) -> int:
    """The number of samples in runs at full scale, on any channel."""
    at_limit = (np.abs(block) >= FULL_SCALE).astype(np.int8)
    positions = max(0, len(at_limit) - MIN_CLIPPED_RUN + 1)
    starts = sum(at_limit[shift : positions + shift] for shift in range(MIN_CLIPPED_RUN)) == MIN_CLIPPED_RUN
    inside = np.zeros(at_limit.shape, bool)
    for shift in range(MIN_CLIPPED_RUN):
        inside[shift : positions + shift] |= starts
    return int(np.count_nonzero(inside))


def _integrated_loudness(energies: NDArray[np.float64]) -> float | None:
    """LUFS from the K-weighted power of each 0.1 s: the mean of the 0.4 s blocks that pass both gates of BS.1770-4."""
    if len(energies) < 4:
        return None
    blocks = np.convolve(energies, np.full(4, 0.25), "valid")
    blocks = blocks[blocks > _power(-70)]  # the absolute gate
    if not len(blocks):
        return None
    blocks = blocks[blocks > blocks.mean() * 0.1]  # the relative gate: 10 LU below the mean
    return round(-0.691 + 10 * math.log10(blocks.mean()), 2)


def _power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))


def _channel_weights(channels: int) -> NDArray[np.float64]:
    """BS.1770: in a 5.1 layout (L R C LFE Ls Rs), surrounds weigh 1.41 and the LFE 0; all other channels weigh 1."""
    return np.array([1, 1, 1, 0, 1.41, 1.41] if channels == 6 else [1.0] * channels, np.float64)


def _k_weighting(rate: int) -> NDArray[np.float64]:
    """The K-weighting filters of BS.1770 as second-order sections, (2, 6), at any sample rate.

    The standard tabulates them at 48 kHz only. The parameters of the analogue prototypes are those that Brecht De Man
    derived (AES convention 144, e-brief 437).
    """
    tangent = math.tan(math.pi * 1681.974450955533 / rate)
    gain, quality = 10 ** (3.999843853973347 / 20), 0.7071752369554196
    edge = gain**0.4996667741545416
    norm = 1 + tangent / quality + tangent**2
    shelf = [
        (gain + edge * tangent / quality + tangent**2) / norm,
        2 * (tangent**2 - gain) / norm,
        (gain - edge * tangent / quality + tangent**2) / norm,
        1.0,
        2 * (tangent**2 - 1) / norm,
        (1 - tangent / quality + tangent**2) / norm,
    ]
    tangent, quality = math.tan(math.pi * 38.13547087602444 / rate), 0.5003270373238773
    norm = 1 + tangent / quality + tangent**2
    high_pass = [1.0, -2.0, 1.0, 1.0, 2 * (tangent**2 - 1) / norm, (1 - tangent / quality + tangent**2) / norm]
    return np.array([shelf, high_pass])
