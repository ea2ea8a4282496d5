"""Synthesised drum one-shots, in several kits."""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
from scipy.signal import butter, sosfilt

from .instruments import RATE

KITS = 4


def _time(seconds: float) -> np.ndarray:
    return np.arange(int(seconds * RATE)) / RATE


def _noise(name: str, kit: int, count: int, low: float, high: float) -> np.ndarray:
    """Band-passed noise `[samples]`, the same for the same drum."""
    seed = sum(map(ord, name)) * KITS + kit
    sos = butter(2, [low, min(high, 11_400)], "bandpass", fs=RATE, output="sos")
    return sosfilt(sos, np.random.default_rng(seed).standard_normal(count))


def _sweep(time: np.ndarray, bottom: float, above: float, fall: float) -> np.ndarray:
    """A sine that falls from `bottom + above` Hz to `bottom` with time constant `fall`."""
    frequency = bottom + above * np.exp(-time / fall)
    return np.sin(2 * np.pi * np.cumsum(frequency) / RATE)


def _kick(kit: int) -> np.ndarray:
    time = _time(0.35)
    bottom, above, fall, decay = (
        (48, 180, 0.02, 0.12),
        (52, 120, 0.03, 0.16),
        (45, 260, 0.012, 0.09),
        (58, 90, 0.035, 0.07),
    )[kit]
    body = _sweep(time, bottom, above, fall) * np.exp(-time / decay)
    click = _noise("kick", kit, len(time), 1500, 8000) * np.exp(-time / 0.002)
    return 0.9 * np.tanh(1.6 * body + 0.25 * click)


def _snare(kit: int) -> np.ndarray:
    time = _time(0.28)
    bottom = (190, 220, 170, 240)[kit]
    tone = _sweep(time, bottom, 0.6 * bottom, 0.012) * np.exp(-time / 0.06)
    rattle = _noise("snare", kit, len(time), 2200, 9000) * np.exp(-time / (0.07, 0.09, 0.05, 0.11)[kit])
    return 0.7 * tone + 0.28 * rattle


def _clap(kit: int) -> np.ndarray:
    time = _time(0.25)
    hands = sum(
        np.where(time >= start, np.exp(-np.maximum(time - start, 0) / decay), 0)
        for start, decay in ((0.0, 0.006), (0.011, 0.006), (0.022, 0.07))
    )
    return 0.4 * _noise("clap", kit, len(time), 1400, (4500, 6000, 4000, 5000)[kit]) * hands


def _hat(kit: int) -> np.ndarray:
    time = _time(0.07)
    return 0.4 * _noise("hat", kit, len(time), 6500, 11_400) * np.exp(-time / (0.018, 0.025, 0.012, 0.03)[kit])


def _open_hat(kit: int) -> np.ndarray:
    time = _time(0.3)
    return 0.3 * _noise("open hat", kit, len(time), 6000, 11_400) * np.exp(-time / 0.09)


def _rim(kit: int) -> np.ndarray:
    time = _time(0.06)
    return 0.5 * (np.sin(2 * np.pi * 1700 * time) + 0.5 * np.sin(2 * np.pi * 820 * time)) * np.exp(-time / 0.012)


def _tom(kit: int) -> np.ndarray:
    time = _time(0.3)
    bottom = (110, 150, 90, 130)[kit]
    return 0.7 * _sweep(time, bottom, 0.5 * bottom, 0.03) * np.exp(-time / 0.1)


def _conga(kit: int) -> np.ndarray:
    time = _time(0.2)
    return 0.6 * _sweep(time, (210, 260, 190, 240)[kit], 80, 0.01) * np.exp(-time / 0.06)


def _blip(kit: int) -> np.ndarray:
    time = _time(0.12)
    return 0.4 * np.sign(_sweep(time, 60, 500, 0.03)) * np.exp(-time / 0.05)


_DRUMS = {
    "kick": _kick,
    "snare": _snare,
    "clap": _clap,
    "hat": _hat,
    "open hat": _open_hat,
    "rim": _rim,
    "tom": _tom,
    "conga": _conga,
    "blip": _blip,
}


@cache
def drum(name: str, kit: int) -> np.ndarray:
    """One hit, float32 `[samples]` at `RATE`."""
    hit = _DRUMS[name](kit % KITS)
    fade = np.minimum(1, np.arange(len(hit), 0, -1) / 120)
    audio = (hit * fade).astype(np.float32)
    audio.setflags(write=False)
    return audio


@lru_cache(maxsize=1)
def crackle() -> np.ndarray:
    """Four seconds of vinyl crackle, float32 `[samples]` at `RATE`."""
    rng = np.random.default_rng(7)
    ticks = np.zeros(4 * RATE)
    ticks[rng.integers(0, len(ticks), 60)] = rng.standard_normal(60)
    sos = butter(2, [800, 6000], "bandpass", fs=RATE, output="sos")
    return (8 * sosfilt(sos, ticks)).astype(np.float32)
