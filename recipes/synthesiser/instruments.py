"""Pitched instruments by additive synthesis: each is a row of partials with their decays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RATE = 24_000
"""Hz; the rate of synthesis. `render` resamples the mix."""
MAX_PARTIAL_HZ = 10_500.0

Partial = tuple[float, float, float]
"""Frequency ratio, amplitude, and decay time in seconds (0: sustained)."""


@dataclass(frozen=True)
class Voice:
    labels: tuple[str, ...]
    """Common names, the plainest first."""
    partials: Callable[[float], list[Partial]]
    """The partials for a fundamental in Hz, which matters to voices with a formant."""
    gain: float
    attack: float = 0.003
    release: float = 0.05
    detune: tuple[float, ...] = (0.0,)
    """Copies of the voice, each detuned by this share of the frequency."""
    glide: float = 0.0
    """Pitch glide: how far above the note it starts, as a share of the frequency; time constant 15 ms."""
    drive: float = 0.0
    octave: int = 0


def _harmonics(
    count: int, amplitude: Callable[[int], float], decay: Callable[[int], float] | None = None
) -> Callable[[float], list[Partial]]:
    rows = [(float(h), amplitude(h), decay(h) if decay else 0.0) for h in range(1, count + 1)]
    return lambda frequency: rows


def _fixed(*rows: Partial) -> Callable[[float], list[Partial]]:
    return lambda frequency: list(rows)


def _choir(frequency: float) -> list[Partial]:
    formant = [np.exp(-(((h * frequency - 700) / 400) ** 2)) / h + 0.3 / h**2 for h in range(1, 10)]
    return [(float(h), float(a), 0.0) for h, a in enumerate(formant, 1)]


VOICES: dict[str, Voice] = {
    # basses
    "808": Voice(("808 bass", "808s", "heavy 808"), _fixed((1, 1, 0.7)), 0.75, 0.002, glide=0.8, drive=2.2),
    "sub": Voice(("sub bass", "deep bass"), _fixed((1, 1, 1.2), (2, 0.25, 0.6)), 0.6, 0.008),
    "saw bass": Voice(
        ("saw bass", "synth bass"), _harmonics(14, lambda h: 1 / h, lambda h: 0.5 / (1 + 0.15 * h)), 0.55
    ),
    "square bass": Voice(("square bass", "pulsing bass"), _harmonics(13, lambda h: h % 2 / h), 0.4, 0.004),
    "acid": Voice(
        ("acid bass", "303 bass"),
        _harmonics(20, lambda h: (1 + 4 * np.exp(-(((h - 6) / 2) ** 2))) / h, lambda h: 0.25 / (1 + 0.06 * h)),
        0.4,
        0.002,
    ),
    "reese": Voice(
        ("reese bass", "growling bass"), _harmonics(12, lambda h: 1 / h), 0.45, 0.01, detune=(-0.0015, 0.0015)
    ),
    # keys and pads
    "rhodes": Voice(
        ("electric piano", "rhodes", "e-piano"),
        _fixed((1, 1, 0.9), (2, 0.35, 0.3), (3, 0.12, 0.2), (7, 0.1, 0.05)),
        0.45,
        0.004,
    ),
    "piano": Voice(
        ("piano", "grand piano"),
        _harmonics(14, lambda h: 0.9**h / h**0.8, lambda h: 1.1 / (1 + 0.35 * h)),
        0.4,
        0.002,
    ),
    "organ": Voice(
        ("organ", "house organ"),
        _fixed((1, 1, 0), (2, 0.6, 0), (3, 0.4, 0), (4, 0.5, 0), (6, 0.2, 0)),
        0.25,
        0.006,
    ),
    "strings": Voice(("strings", "string section"), _harmonics(10, lambda h: 1 / h), 0.3, 0.18, 0.1),
    "pad": Voice(
        ("warm pad", "synth pad", "lush pad"),
        _harmonics(8, lambda h: 1 / h**1.5),
        0.35,
        0.3,
        0.12,
    ),
    "choir": Voice(("choir", "vocal pad"), _choir, 0.55, 0.22, 0.12),
    "stab": Voice(
        ("synth stab", "techno stab"),
        _harmonics(12, lambda h: 1 / h, lambda h: 0.3 / (1 + 0.2 * h)),
        0.4,
        0.003,
    ),
    # leads and mallets
    "bell": Voice(("bells", "bell melody"), _fixed((1, 1, 0.8), (2.76, 0.5, 0.35), (5.4, 0.3, 0.15)), 0.35, 0.001),
    "pluck": Voice(
        ("synth pluck", "plucks"), _harmonics(20, lambda h: 1 / h, lambda h: 0.35 / (1 + 0.3 * h)), 0.4, 0.001
    ),
    "guitar": Voice(
        ("guitar", "guitar loop"),
        _harmonics(16, lambda h: abs(np.sin(0.6 * h)) / h, lambda h: 0.6 / (1 + 0.2 * h)),
        0.5,
        0.002,
    ),
    "lead": Voice(
        ("synth lead", "saw lead", "dark synth"),
        _harmonics(14, lambda h: 1 / h),
        0.3,
        0.01,
    ),
    "square": Voice(("square lead", "square synth"), _harmonics(15, lambda h: h % 2 / h), 0.28, 0.004),
    "kalimba": Voice(("kalimba", "thumb piano"), _fixed((1, 1, 0.35), (2.9, 0.4, 0.04), (6.3, 0.2, 0.02)), 0.5, 0.001),
    "marimba": Voice(("marimba", "mallets"), _fixed((1, 1, 0.25), (3.93, 0.3, 0.08), (9.2, 0.1, 0.03)), 0.5, 0.001),
    # the unseen styles'
    "triangle": Voice(("triangle bass",), _harmonics(9, lambda h: h % 2 / h**2), 0.6, 0.001, 0.01),
    "thin pulse": Voice(
        ("pulse lead",), _harmonics(24, lambda h: abs(np.sin(np.pi * h / 8)) / h), 0.4, 0.001, 0.01, octave=1
    ),
    "music box": Voice(
        ("music box",), _fixed((1, 1, 0.9), (3, 0.25, 0.3), (5.8, 0.2, 0.08)), 0.4, 0.001, 0.4, octave=1
    ),
    "gong": Voice(
        ("gong",),
        _fixed((1, 1, 2.5), (1.48, 0.5, 1.5), (2.34, 0.4, 1.0), (3.2, 0.2, 0.5)),
        0.5,
        0.01,
        0.8,
        octave=1,
    ),
    "metallophone": Voice(
        ("bronze metallophones",),
        _fixed((1, 1, 0.5), (2.71, 0.6, 0.3), (5.15, 0.4, 0.15)),
        0.35,
        0.001,
        0.2,
        (-0.008, 0.008),
    ),
    "skank": Voice(("organ skank",), _fixed((1, 1, 0.12), (2, 0.8, 0.1), (4, 0.6, 0.08)), 0.4, 0.003),
    "melodica": Voice(
        ("melodica",), _harmonics(10, lambda h: (1 if h % 2 else 0.4) / h), 0.3, 0.03, detune=(-0.002, 0.002)
    ),
}


@lru_cache(maxsize=8192)
def note(instrument: str, pitch: int, ticks: int) -> np.ndarray:
    """One note, float32 `[samples]` at `RATE`. `pitch` is a MIDI number, `ticks` its length in 1/32 s."""
    voice = VOICES[instrument]
    held = ticks / 32
    frequency = 440.0 * 2 ** ((pitch + 12 * voice.octave - 69) / 12)
    count = int((held + 5 * voice.release) * RATE)
    time = np.arange(count, dtype=np.float32) / RATE
    bend = voice.glide * 0.015 * (1 - np.exp(-time / 0.015))

    audio = np.zeros(count, np.float32)
    for number, (ratio, amplitude, decay) in enumerate(voice.partials(frequency)):
        if amplitude == 0 or ratio * frequency > MAX_PARTIAL_HZ:
            continue
        envelope = amplitude * np.exp(-time / decay) if decay else amplitude
        for offset in voice.detune:
            phase = 2 * np.pi * ratio * frequency * (1 + offset) * (time + bend)
            audio += envelope * np.sin(phase + 1.7 * number * bool(offset), dtype=np.float32)
    audio /= len(voice.detune)
    if voice.drive:
        audio = np.tanh(voice.drive * audio)

    rise = min(max(2, int(voice.attack * RATE)), max(2, count // 2))
    audio[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    audio *= np.exp(-np.maximum(time - held, 0) / voice.release, dtype=np.float32)
    audio *= np.minimum(1, np.arange(count, 0, -1, dtype=np.float32) / 240)
    audio *= np.float32(voice.gain)
    audio.setflags(write=False)
    return audio
