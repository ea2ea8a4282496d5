"""Render a song, or some of its tracks: reverb, ducking, stereo and level."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import gcd

import numpy as np
from scipy.signal import butter, fftconvolve, resample_poly, sosfilt

from .arrange import Hit, arrange
from .drums import crackle, drum
from .genres import STYLES, Style
from .instruments import RATE, note
from .song import Song

PEAK = 0.8
_PAN = {"kick": 0.0, "drums": 0.12, "bass": 0.0, "chord": -0.25, "melody": 0.2}
"""-1 is left, 1 is right."""
TRACKS = tuple(_PAN)


def render(song: Song, seconds: float, sample_rate: int = 48_000, channels: int = 2) -> np.ndarray:
    """Play `song`: float32 `[channels, samples]`, `round(seconds * sample_rate)` samples, peak 0.8."""
    return render_parts(song, seconds, (TRACKS,), sample_rate, channels)[0]


def render_parts(
    song: Song, seconds: float, parts: Sequence[Sequence[str]], sample_rate: int = 48_000, channels: int = 2
) -> list[np.ndarray]:
    """Play some tracks of `song`, each part as loud as it is in the whole mix, whose peak is 0.8.

    Args:
        parts: the names in `TRACKS` of each part; all of them are the whole mix.

    Returns:
        float32 `[channels, samples]` for each part.
    """
    if channels not in (1, 2):
        raise ValueError(f"channels must be 1 or 2, not {channels}")
    tracks = _tracks(song, seconds)
    mix = _fit(_mix(song, tracks, channels), seconds, sample_rate)
    gain = PEAK / max(float(np.abs(mix).max(initial=0)), 1e-6)
    rendered = []
    for names in parts:
        part = mix
        if set(names) != set(TRACKS):
            silenced = {name: track * np.float32(name in names) for name, track in tracks.items()}
            part = _fit(_mix(song, silenced, channels, noise=False), seconds, sample_rate)
        rendered.append(np.ascontiguousarray(part * gain, dtype=np.float32))
    return rendered


def _fit(mix: np.ndarray, seconds: float, sample_rate: int) -> np.ndarray:
    """Resample to the rate, cut or pad to the length, and fade out."""
    samples = round(seconds * sample_rate)
    if sample_rate != RATE:
        common = gcd(sample_rate, RATE)
        mix = resample_poly(mix, sample_rate // common, RATE // common, axis=1)
    mix = np.pad(mix, ((0, 0), (0, max(0, samples - mix.shape[1]))))[:, :samples]
    fade = min(samples, sample_rate // 100)
    if fade:
        mix[:, samples - fade :] *= np.linspace(1, 0, fade)
    return mix


def _tracks(song: Song, seconds: float) -> dict[str, np.ndarray]:
    """Each track alone, float32 `[samples]` at `RATE`."""
    length = int(np.ceil(seconds * RATE))
    tracks = {name: np.zeros(length, np.float32) for name in _PAN}

    def add(track: str, start: float, audio: np.ndarray, gain: float) -> None:
        first = round(start * RATE)
        last = min(first + len(audio), length)
        if first < last:
            tracks[track][first:last] += np.float32(gain) * audio[: last - first]

    for event in arrange(song, seconds):
        if isinstance(event, Hit):
            add(
                "kick" if event.drum == "kick" else "drums",
                event.start,
                drum(event.drum, song.kit),
                event.gain,
            )
        else:
            ticks = int(np.clip(round(event.seconds * 32), 1, 160))
            add(event.track, event.start, note(event.instrument, event.pitch, ticks), event.gain)
    return tracks


def _mix(song: Song, tracks: dict[str, np.ndarray], channels: int, noise: bool = True) -> np.ndarray:
    """Sum of the tracks with the style's effects, `[channels, samples]` at `RATE`; `noise`: its crackle too."""
    style = STYLES[song.genre]
    length = len(tracks["kick"])
    pitched = np.stack([_panned(tracks, ("bass", "chord", "melody"), side) for side in _sides(channels)])
    if style.reverb[1]:
        send = np.stack([_panned(tracks, ("chord", "melody"), side) for side in _sides(channels)])
        pitched += style.reverb[1] * _reverb(send, style.reverb[0])
    if song.drums and style.pump:
        pitched *= _duck(song, style, length)
    mix = pitched + np.stack([_panned(tracks, ("kick", "drums"), side) for side in _sides(channels)])
    if style.crackle and noise:
        mix += style.crackle * np.resize(crackle(), length)
    if style.tone:
        mix = sosfilt(butter(2, style.tone, fs=RATE, output="sos"), mix)
    mix = np.tanh(0.9 * mix)
    if style.crush:
        mix = np.repeat(np.round(mix[:, ::2] * 8) / 8, 2, axis=1)[:, :length]
    return mix


def _sides(channels: int) -> tuple[int, ...]:
    return (0,) if channels == 1 else (-1, 1)


def _panned(tracks: dict[str, np.ndarray], names: tuple[str, ...], side: int) -> np.ndarray:
    """The sum of some tracks on one side; side 0 is mono."""
    return sum((tracks[name] * np.float32(1 + side * _PAN[name]) for name in names), np.zeros_like(tracks["kick"]))


@lru_cache(maxsize=16)
def _impulse(seconds: float, side: int) -> np.ndarray:
    count = int(seconds * RATE)
    tail = np.random.default_rng(11 + side).standard_normal(count) * np.exp(-np.arange(count) / (count / 5))
    sos = butter(1, 4000, fs=RATE, output="sos")
    return (sosfilt(sos, tail) / np.sqrt(np.sum(tail**2))).astype(np.float32)


def _reverb(send: np.ndarray, seconds: float) -> np.ndarray:
    length = send.shape[1]
    return np.stack([fftconvolve(row, _impulse(seconds, side))[:length] for side, row in enumerate(send)])


def _duck(song: Song, style: Style, length: int) -> np.ndarray:
    """Gain over time `[samples]`: down on each beat, back within 40 % of it."""
    phase = (np.arange(length) / RATE * song.bpm / 60) % 1
    return 1 - style.pump * np.maximum(0, 1 - 2.5 * phase)
