"""How loud a song is, measured while it streams by: peak, loudness, clipping, silence."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import sosfilt

from preprocessing.decode import Samples

SILENCE = 10 ** (-60 / 20)  # −60 dBFS
# Three samples in a row at full scale are what mastering engineers count as clipped; one may be a normalised peak.
FULL_SCALE, RUN = 0.9999, 3
STEP = 0.1  # seconds; loudness blocks of 0.4 s overlap by three of these


@dataclass(frozen=True)
class Levels:
    """`peak` in dBFS, None for digital silence. `loudness` in LUFS (ITU-R BS.1770-4, integrated), None if too short or
    silent to have one. `clipped` counts the samples in runs at full scale. `silent` is the seconds under −60 dBFS.
    """

    seconds: float
    peak: float | None
    loudness: float | None
    clipped: int
    silent: float


class Meter:
    """Takes blocks of (frames, channels) at `rate` Hz, any number of them, in constant memory but for 30 B a second."""

    def __init__(self, rate: int, channels: int) -> None:
        self._rate = rate
        self._filter = _k_weighting(rate)
        self._state = np.zeros((len(self._filter), 2, channels))
        self._step = round(STEP * rate)
        self._left = np.empty((0, channels), np.float32)
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
        joined = np.concatenate([self._left, block])
        whole = len(joined) - len(joined) % self._step
        steps, self._left = joined[:whole], joined[whole:]
        if not whole:
            return
        by_step = steps.reshape(-1, self._step, steps.shape[1])
        self._silent += self._step * int(np.count_nonzero(np.abs(by_step).max(axis=(1, 2)) < SILENCE))
        weighted, self._state = sosfilt(self._filter, steps, axis=0, zi=self._state)
        power = np.einsum("stc,stc,c->s", *[weighted.reshape(by_step.shape)] * 2, self._weights)
        self._energies.append(power / self._step)

    def levels(self) -> Levels:
        """Of all that was added."""
        energies = np.concatenate([np.empty(0), *self._energies])
        peak = 20 * math.log10(self._peak) if self._peak > 0 else None
        return Levels(
            round(self._frames / self._rate, 3),
            peak and round(peak, 2),
            _integrated(energies),
            self._clipped,
            round(self._silent / self._rate, 1),
        )


def _clipped(block: Samples) -> int:
    """Samples of the block that are in runs of RUN or more at full scale, on any channel."""
    at_limit = (np.abs(block) >= FULL_SCALE).astype(np.int8)
    starts = sum(at_limit[shift : len(at_limit) - RUN + 1 + shift] for shift in range(RUN)) == RUN
    inside = np.zeros(at_limit.shape, bool)
    for shift in range(RUN):
        inside[shift : len(at_limit) - RUN + 1 + shift] |= starts
    return int(np.count_nonzero(inside))


def _integrated(energies: NDArray[np.float64]) -> float | None:
    """LUFS from the weighted power of each 0.1 s: the mean of 0.4 s blocks that pass both gates of BS.1770-4."""
    if len(energies) < 4:
        return None
    blocks = np.convolve(energies, np.full(4, 0.25), "valid")
    blocks = blocks[blocks > _power(-70)]
    if not len(blocks):
        return None
    blocks = blocks[blocks > blocks.mean() * 0.1]  # 10 LU below the mean of what is left
    return round(-0.691 + 10 * math.log10(blocks.mean()), 2)


def _power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))


def _channel_weights(channels: int) -> NDArray[np.float64]:
    """Of BS.1770: surround channels of a 5.1 layout (L R C LFE Ls Rs) count 1.41, its LFE nothing; others 1."""
    return np.array([1, 1, 1, 0, 1.41, 1.41] if channels == 6 else [1.0] * channels, np.float64)


def _k_weighting(rate: int) -> NDArray[np.float64]:
    """The two filters of BS.1770 as second-order sections, from the analogue ones that its 48 kHz table came from.

    Their frequencies, gain and qualities are those found by Brecht De Man (AES convention 144, e-brief 437).
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
