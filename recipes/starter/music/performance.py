"""A human hand: drifting tempo, uneven onsets, accents and phrases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrangement import Arrangement, Sounding


@dataclass(frozen=True)
class Played:
    """A note as it is played: seconds, MIDI pitch and velocity."""

    role: str
    instrument: str
    start: float
    end: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Hand:
    """How freely somebody plays.

    Attributes:
        drift: largest deviation of the tempo, as a share; 0 for a click track.
        jitter: deviation of single onsets in seconds.
        dynamics: how much phrases swell, 0 to 1.
    """

    drift: float
    jitter: float
    dynamics: float


def draw_hand(rng: np.random.Generator, steady: bool) -> Hand:
    """A hand; a steady one, as with drums, keeps the tempo."""
    return Hand(0.0 if steady else rng.uniform(0, 0.03), rng.uniform(0.001, 0.012), rng.uniform(0.1, 0.5))


def perform(arrangement: Arrangement, hand: Hand, seconds: float, rng: np.random.Generator) -> list[Played]:
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
        return quarter * (place + hand.drift * float(waves - still) / 3)

    played = []
    for turn in range(int(seconds / (period * quarter)) + 1):
        for note in arrangement.notes:
            start = clock(note.start + turn * period) + rng.normal(0, hand.jitter)
            if start < seconds:
                end = clock(note.start + note.length + turn * period)
                velocity = _velocity(note, arrangement, hand, phases[0], rng)
                start = max(0.0, start)
                end = max(end, start + 0.05)
                played.append(Played(note.role, note.instrument, start, end, note.pitch, velocity))
    return played


def _velocity(note: Sounding, arrangement: Arrangement, hand: Hand, phase: float, rng: np.random.Generator) -> int:
    place = note.start % arrangement.piece.bar
    accent = 0.06 if place < 0.01 else 0.0 if abs(place - round(place)) < 0.01 else -0.05
    phrase = hand.dynamics * 0.3 * np.sin(2 * np.pi * note.start / (8 * arrangement.piece.bar) + phase)
    strength = note.strength + accent + phrase + rng.normal(0, 0.04)
    return int(np.clip(round(127 * strength), 20, 127))
