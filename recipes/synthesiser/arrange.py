"""Arrange a song: form, harmony, bass line, motif and drums, as notes and hits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .genres import STYLES
from .song import SCALES, Song

STEPS_PER_BEAT = 4
PHRASE = 4
"""Bars per phrase; sections change at its multiples."""
MIN_FORM_SECONDS = 24.0
"""A shorter piece is a plain loop."""
PENTATONIC = {"minor": (0, 2, 3, 4, 6), "major": (0, 1, 2, 4, 5)}
"""Scale degrees that fit any chord of the key."""
PROGRESSIONS = {
    "minor": ((0, 5, 2, 6), (0, 3, 5, 4), (0, 0, 5, 6), (0, 6, 5, 0)),
    "major": ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 0, 4), (0, 3, 4, 0)),
}
LAYERS = {
    "intro": {"chord", "melody", "tops"},
    "drop": {"chord", "melody", "tops", "beat", "bass"},
    "break": {"chord", "melody"},
    "outro": {"chord", "tops", "beat"},
}
TOPS = {"hat", "open hat"}


@dataclass(frozen=True)
class Note:
    track: str
    """`bass`, `chord` or `melody`."""
    start: float
    """Seconds."""
    instrument: str
    pitch: int
    """MIDI number."""
    seconds: float
    gain: float


@dataclass(frozen=True)
class Hit:
    start: float
    drum: str
    gain: float


def form(song: Song, seconds: float) -> list[str]:
    """The section of each bar: a plain loop for short pieces, else intro, drop, break, drop, outro."""
    bars = math.ceil(seconds / song.bar_seconds - 1e-6)
    phrases = bars // PHRASE
    if seconds < MIN_FORM_SECONDS or phrases < 2:
        return ["drop"] * bars
    names = ["drop"] * phrases
    names[0] = "intro"
    if phrases >= 4:
        names[round(0.55 * phrases)] = "break"
    if phrases >= 5:
        names[-1] = "outro"
    sections = [name for name in names for _ in range(PHRASE)]
    return sections + [sections[-1]] * (bars - len(sections))


def arrange(song: Song, seconds: float) -> Iterator[Note | Hit]:
    """All notes and drum hits that begin within `seconds`."""
    style = STYLES[song.genre]
    rng = np.random.default_rng(song.seed)
    groove = style.grooves[song.groove % len(style.grooves)]
    progression = PROGRESSIONS[song.mode][rng.integers(4)]
    motif = _motif(rng, song)
    roll = int(rng.integers(1, song.beats_per_bar * 2)) * 2
    sections = form(song, seconds)
    step = 60 / song.bpm / STEPS_PER_BEAT
    steps = song.beats_per_bar * STEPS_PER_BEAT

    def at(bar: int, position: float) -> float:
        late = song.swing if position % 2 == 1 else 0.0
        return (bar * steps + position + late) * step

    for bar, section in enumerate(sections):
        layers = LAYERS[section]
        degree = progression[bar // style.bars_per_chord % 4]
        if song.bass and "bass" in layers:
            for position, length, octave in spans(groove["bass"]):
                pitch = _pitch(song, degree, 24 if song.root >= 5 else 36) + 12 * octave
                yield Note("bass", at(bar, position), song.bass, pitch, 0.95 * length * step, 0.62)
        if song.chord and "chord" in layers:
            for position, length, _ in spans(groove["chord"]):
                for third in (0, 2, 4, 6) if style.seventh else (0, 2, 4):
                    pitch = _pitch(song, degree + third, 48)
                    yield Note("chord", at(bar, position), song.chord, pitch, length * step, 0.26)
        if song.melody and ("melody" in layers or not song.chord):
            if style.melody_style == "arp":
                yield from _arpeggio(song, degree, bar, at, step)
            else:
                # The motif repeats in each bar; every fourth bar omits its end.
                for position, length, scale_degree in motif:
                    if bar % PHRASE < 3 or position < steps // 2:
                        pitch = _pitch(song, scale_degree, 60)
                        yield Note("melody", at(bar, position), song.melody, pitch, length * step, 0.4)
        if song.drums:
            last = bar + 1 == len(sections) or sections[bar + 1] != section
            fill = last and len(set(sections)) > 1
            yield from _drums(groove, layers, bar, at, fill, roll if style.rolls else None, steps)


def spans(pattern: str) -> Iterator[tuple[int, int, int]]:
    """Position, length in sixteenths, and octave of each note of a pattern."""
    for position, sign in enumerate(pattern):
        if sign in "xo":
            tail = pattern[position + 1 :]
            held = len(tail) - len(tail.lstrip("-"))
            yield position, 1 + held, int(sign == "o")


def _pitch(song: Song, degree: int, base: int) -> int:
    scale = SCALES[song.mode]
    return base + song.root + scale[degree % 7] + 12 * (degree // 7)


def _motif(rng: np.random.Generator, song: Song) -> list[tuple[int, int, int]]:
    """A phrase of one bar: positions in eighths, lengths in sixteenths, degrees of the pentatonic scale."""
    slots = song.beats_per_bar * 2
    count = int(rng.integers(slots // 2, slots - 1))
    positions = sorted({0, *(int(p) for p in rng.choice(slots, count - 1, replace=False))})
    scale = PENTATONIC[song.mode]
    place = 0
    motif = []
    for index, slot in enumerate(positions):
        following = positions[index + 1] if index + 1 < len(positions) else slots
        motif.append((2 * slot, min(6, 2 * (following - slot)), scale[place % 5] + 7 * (place // 5)))
        place = int(np.clip(place + rng.integers(-2, 3), -1, 6))
    return motif


def _arpeggio(song: Song, degree: int, bar: int, at, step: float) -> Iterator[Note]:  # type: ignore[no-untyped-def]
    dense = song.groove % 2 == 0
    stride = 1 if dense else 2
    order = (0, 2, 4, 7, 4, 2) if song.seed % 2 else (0, 2, 4, 7)
    for number, position in enumerate(range(0, song.beats_per_bar * STEPS_PER_BEAT, stride)):
        pitch = _pitch(song, degree + order[number % len(order)], 60)
        yield Note("melody", at(bar, position), str(song.melody), pitch, 1.2 * stride * step, 0.3)


def _drums(  # type: ignore[no-untyped-def]
    groove: dict[str, str], layers: set[str], bar: int, at, fill: bool, roll: int | None, steps: int
) -> Iterator[Hit]:
    for drum, pattern in groove.items():
        if drum in ("bass", "chord") or ("tops" if drum in TOPS else "beat") not in layers:
            continue
        full = {"kick": 0.95, "snare": 0.7, "clap": 0.75, "hat": 0.5, "open hat": 0.5}.get(drum, 0.5)
        for position, sign in enumerate(pattern):
            if sign in "xo":
                yield Hit(at(bar, position), drum, full if sign == "x" else 0.6 * full)
    if roll is not None and "tops" in layers:
        for part in range(4):
            yield Hit(at(bar, roll + 0.5 * part + 0.25), "hat", 0.3)
    if fill and "beat" in layers:
        for position in range(steps - 4, steps):
            yield Hit(at(bar, position), "snare", 0.3 + 0.08 * (position - steps + 4))
