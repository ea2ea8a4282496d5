"""Humanisation: drifting tempo, uneven onsets, accents and phrases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrangement import ArrangedNote, Arrangement


@dataclass(frozen=True)
class PlayedNote:
    """A note as it is played: start and end in seconds, MIDI pitch and velocity."""

    role: str
    instrument: str
    start: float
    end: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Humanisation:
    """How far a performance departs from the score.

    Attributes:
        drift: largest deviation of the tempo, as a share; 0 for a click track.
        jitter: deviation of single onsets in seconds.
        dynamics: how much phrases swell, 0 to 1.
    """

    drift: float
    jitter: float
    dynamics: float


def draw_humanisation(rng: np.random.Generator, steady: bool) -> Humanisation:
    """Draw a humanisation; a `steady` one, as with drums, keeps the tempo."""
    return Humanisation(0.0 if steady else rng.uniform(0, 0.03), rng.uniform(0.001, 0.012), rng.uniform(0.1, 0.5))


def perform(
    arrangement: Arrangement, humanisation: Humanisation, seconds: float, rng: np.random.Generator
) -> list[PlayedNote]:
    """The first `seconds` of an arrangement, repeated from its beginning where it is shorter."""
    quarter = 60 / arrangement.bpm
    bars = -(-arrangement.piece.quarters // arrangement.piece.bar)
    period = bars * arrangement.piece.bar
    phases = rng.uniform(0, 2 * np.pi, 3)

    def clock(place: float) -> float:
        """Seconds at a place in quarter notes."""
        waves = sum(
            np.sin(place * speed + phase) / speed for speed, phase in zip((0.2, 0.45, 1.1), phases, strict=True)
        )
        still = sum(np.sin(phase) / speed for speed, phase in zip((0.2, 0.45, 1.1), phases, strict=True))
        return quarter * (place + humanisation.drift * float(waves - still) / 3)

    played = []
    for turn in range(int(seconds / (period * quarter)) + 1):
        for note in arrangement.notes:
            start = clock(note.start + turn * period) + rng.normal(0, humanisation.jitter)
            if start < seconds:
                end = clock(note.start + note.length + turn * period)
                velocity = _velocity(note, arrangement, humanisation, phases[0], rng)
                start = max(0.0, start)
                end = max(end, start + 0.05)
                played.append(PlayedNote(note.role, note.instrument, start, end, note.pitch, velocity))
    return played


def _velocity(
    note: ArrangedNote, arrangement: Arrangement, humanisation: Humanisation, phase: float, rng: np.random.Generator
) -> int:
    place = note.start % arrangement.piece.bar
    accent = 0.06 if place < 0.01 else 0.0 if abs(place - round(place)) < 0.01 else -0.05
    phrase = humanisation.dynamics * 0.3 * np.sin(2 * np.pi * note.start / (8 * arrangement.piece.bar) + phase)
    strength = note.strength + accent + phrase + rng.normal(0, 0.04)
    return int(np.clip(round(127 * strength), 20, 127))
