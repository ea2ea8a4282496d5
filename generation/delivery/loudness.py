"""Brings a track to a loudness (ITU-R BS.1770-4) without exceeding a true peak."""

from __future__ import annotations

import numpy as np

from generation.delivery.true_peak import LOOK_AHEAD_SECONDS, Samples, limiter_gain, true_peaks
from preprocessing.levels import LevelMeter

MIN_SECONDS = 0.5  # a loudness block has 0.4 s
MAX_TRUE_PEAK = 10 ** (-1 / 20)  # −1 dBTP
# Meters interpolate differently, by a tenth of a decibel on noise; this is below what any of them may read.
CEILING = 10 ** (-1.3 / 20)
# How far a limiter may be driven: beyond it, a track of single peaks would become noise.
MAX_LIMITING_DB = 24.0
# A shorter look-ahead comes louder and distorts more: the first that reaches the target is taken.
_LOOK_AHEADS = (LOOK_AHEAD_SECONDS, LOOK_AHEAD_SECONDS / 3, LOOK_AHEAD_SECONDS / 10)
_TOLERANCE_DB = 0.05
_MAX_PASSES = 3
_SILENCE = 1e-6
_BLOCK_FRAMES = 2**20


def loudness(samples: Samples, rate: int) -> float | None:
    """Integrated, in LUFS; None for what is too short or too quiet to have one."""
    meter = LevelMeter(rate, samples.shape[1])
    for start in range(0, len(samples), _BLOCK_FRAMES):
        meter.add(samples[start : start + _BLOCK_FRAMES])
    return meter.levels().loudness


def at_loudness(samples: Samples, rate: int, target: float, circular: bool = False) -> Samples:
    """The samples at `target` LUFS, with no true peak over `CEILING`.

    A gain alone, where that keeps the ceiling; else with a limiter, whose look-ahead gets shorter where the target is
    not reached. A track that would need more than `MAX_LIMITING_DB` of it stays quieter. Silence stays as it is.

    Args:
        circular: the end is followed by the beginning, as in a loop.
    """
    from scipy.optimize import brentq

    peaks = true_peaks(samples, circular)
    highest = float(peaks.max(initial=0))
    if highest < _SILENCE:
        return samples
    samples, peaks = samples * np.float32(CEILING / highest), peaks * np.float32(CEILING / highest)
    at_ceiling = loudness(samples, rate)
    if at_ceiling is None:
        return samples
    if target <= at_ceiling:
        return samples * np.float32(10 ** ((target - at_ceiling) / 20))

    aim = CEILING

    def limited(drive_db: float, look_ahead: float) -> Samples:
        drive = np.float32(10 ** (drive_db / 20))
        return samples * (drive * limiter_gain(peaks * drive, aim, rate, circular, look_ahead))[:, None]

    def missing(drive_db: float, look_ahead: float) -> float:
        return target - (loudness(limited(drive_db, look_ahead), rate) or at_ceiling)

    reaching = (each for each in _LOOK_AHEADS if missing(MAX_LIMITING_DB, each) < 0)
    look_ahead = next(reaching, _LOOK_AHEADS[-1])
    for _ in range(_MAX_PASSES):
        drive_db = MAX_LIMITING_DB
        if missing(MAX_LIMITING_DB, look_ahead) < 0:
            drive_db = brentq(missing, 0.0, MAX_LIMITING_DB, args=(look_ahead,), xtol=_TOLERANCE_DB)
        made = limited(drive_db, look_ahead)
        # The limiter's gain changes from sample to sample, which can move a peak between them.
        over = float(true_peaks(made, circular).max()) / CEILING
        if over <= 1:
            return made
        aim /= over
    return made / np.float32(over)
