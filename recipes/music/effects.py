"""Rooms, distortion, compression and mastering, on mono audio `[samples]`."""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt


def room(audio: np.ndarray, rate: int, seconds: float, wet: float, rng: np.random.Generator) -> np.ndarray:
    """Reverberation: a few early reflections, then noise that falls by 60 dB in `seconds`, highs first."""
    count = int(seconds * rate)
    time = np.arange(count) / rate
    noise = rng.standard_normal(count)
    dull = sosfilt(butter(1, rng.uniform(1500, 5000), fs=rate, output="sos"), noise)
    tail = 0.4 * noise * np.exp(-13.8 * time / seconds) + dull * np.exp(-6.9 * time / seconds)
    tail[: int(0.012 * rate)] = 0
    for _ in range(6):
        tail[int(rng.uniform(0.004, 0.05) * rate)] += rng.normal(0, 6)
    tail /= np.sqrt(np.sum(tail**2)) + 1e-9
    return audio + wet * fftconvolve(audio, tail)[: len(audio)]


def echo(audio: np.ndarray, rate: int, seconds: float, level: float) -> np.ndarray:
    """Repeats after `seconds`, each `level` as loud as the one before and duller."""
    delay, again = round(seconds * rate), audio
    total = audio.copy()
    while level > 0 and np.abs(again).max() > 0.02 * np.abs(audio).max() and len(again) > delay:
        again = level * low_pass(again[: len(again) - delay], rate, 4000)
        total[len(total) - len(again) :] += again
    return total


def distort(audio: np.ndarray, drive: float) -> np.ndarray:
    """Soft clipping; `drive` from 0 (none) to 1 (up to 24 dB into the curve)."""
    if drive <= 0:
        return audio
    gain = 10 ** (24 * drive / 20) / (np.abs(audio).max() + 1e-9)
    return np.tanh(gain * audio)


def compress(audio: np.ndarray, rate: int, ratio: float, share: float = 0.3) -> np.ndarray:
    """A feed-forward compressor whose threshold is `share` of the peak level, with 5 ms attack and 120 ms release."""
    block = rate // 400
    padded = np.pad(np.abs(audio), (0, -len(audio) % block)).reshape(-1, block).max(1)
    level = np.empty_like(padded)
    held = 0.0
    rise, fall = 1 - np.exp(-2.5 / 5), 1 - np.exp(-2.5 / 120)
    for number, value in enumerate(padded):
        held += (rise if value > held else fall) * (value - held)
        level[number] = held
    threshold = share * level.max() + 1e-9
    gain = np.minimum(1, (np.maximum(level, 1e-9) / threshold) ** (1 / ratio - 1))
    places = (np.arange(len(gain)) + 0.5) * block
    return audio * np.interp(np.arange(len(audio)), places, gain)


def tilt(audio: np.ndarray, rate: int, decibels: float) -> np.ndarray:
    """Highs above 1 kHz raised against lows by `decibels`."""
    low = sosfilt(butter(1, 1000, fs=rate, output="sos"), audio)
    return low * 10 ** (-decibels / 40) + (audio - low) * 10 ** (decibels / 40)


def low_pass(audio: np.ndarray, rate: int, hertz: float) -> np.ndarray:
    return sosfilt(butter(3, min(hertz, 0.49 * rate), fs=rate, output="sos"), audio)


def master(audio: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """A finished record at a level of its own: tone, compression, now and then clipping, then a gain of ± 10 dB.

    Before the gain the loudness is -20 dB of full scale, so that even loud records keep peaks below full scale.
    """
    audio = tilt(audio, rate, rng.uniform(-6, 6))
    if rng.random() < 0.6:
        audio = compress(audio, rate, rng.uniform(1.5, 6))
    if rng.random() < 0.15:
        audio = distort(audio, rng.uniform(0.1, 0.5))
    if rng.random() < 0.2:
        audio = low_pass(audio, rate, rng.uniform(3500, 11_000))
    audio = audio * 0.1 / (np.sqrt(np.mean(audio**2)) + 1e-9)
    audio = audio * 10 ** (rng.uniform(-10, 10) / 20)
    peak = np.abs(audio).max()
    return (audio if peak < 0.98 else np.tanh(audio / peak * 1.5) * 0.98).astype(np.float32)
