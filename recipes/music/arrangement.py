"""Arrange a tune for an ensemble: melody, generated chords, bass and drums."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from .ensembles import ENSEMBLES, Ensemble
from .harmony import Chord, harmonise
from .scores import Piece

RANGES = {"melody": (55, 88), "inner": (43, 76), "bass": (28, 52)}
"""MIDI pitches, lowest and highest, of each role."""
DRUM_NOTES = {
    "kick": 36,
    "snare": 38,
    "hat": 42,
    "open hat": 46,
    "crash": 49,
    "ride": 51,
    "tambourine": 54,
    "clap": 39,
    "rim": 37,
    "tom": 45,
    "conga": 63,
    "blip": 76,
}
ACCENTS = {"x": 0.9, "o": 0.5}
SECOND_VOICE = 0.4
"""Probability of a second voice below the melody."""


@dataclass(frozen=True)
class ArrangedNote:
    """A note of an arrangement.

    Attributes:
        role: `melody`, `inner`, `bass` or `drums`.
        instrument: of `ensembles.INSTRUMENTS`, or `drums`.
        start, length: quarter notes.
        pitch: MIDI.
        strength: 0 to 1.
    """

    role: str
    instrument: str
    start: float
    length: float
    pitch: int
    strength: float


@dataclass(frozen=True)
class Arrangement:
    """A tune arranged for an ensemble.

    Attributes:
        ensemble: key of `ENSEMBLES`.
        bpm: quarter notes a minute.
        notes: of all instruments.
        instruments: by role.
    """

    piece: Piece
    ensemble: str
    bpm: int
    notes: list[ArrangedNote]
    instruments: dict[str, tuple[str, ...]]


def arrange_piece(piece: Piece, ensemble: str, rng: np.random.Generator) -> Arrangement:
    """Draw an arrangement of `piece` for an ensemble."""
    cast = ENSEMBLES[ensemble]

    def pick(options: tuple) -> tuple[str, ...]:
        return options[rng.integers(len(options))]

    instruments = {"melody": pick(cast.melody), "inner": pick(cast.inner), "bass": pick(cast.bass)}
    shift = int(rng.integers(-5, 7))
    transposed = [(start, length, pitch + shift) for start, length, pitch in piece.notes]
    moved = replace(piece, tonic=(piece.tonic + shift) % 12, notes=transposed)
    notes = list(_tune(moved, cast, instruments, rng))
    if cast.drums and piece.bar in (2, 4) and rng.random() < 0.85:
        pattern = cast.drums[rng.integers(len(cast.drums))]
        if pattern:
            instruments["drums"] = ("drums",)
            notes += _drums(moved, pattern)
    bpm = int(rng.integers(cast.bpm[0] // 2, cast.bpm[1] // 2 + 1)) * 2
    return Arrangement(moved, ensemble, bpm, sorted(notes, key=lambda note: note.start), instruments)


def _tune(
    piece: Piece, cast: Ensemble, instruments: dict[str, tuple[str, ...]], rng: np.random.Generator
) -> Iterator[ArrangedNote]:
    """The tune over generated chords."""
    chords = harmonise(piece)
    below = rng.random() < SECOND_VOICE
    for start, length, pitch in piece.notes:
        high = _within(pitch, "melody")
        for instrument in instruments["melody"]:
            yield ArrangedNote("melody", instrument, start, length, high, 0.75)
            if below:
                yield ArrangedNote("melody", instrument, start, length, _second_voice(high, _at(chords, start)), 0.6)
    pattern = PATTERNS[cast.patterns[rng.integers(len(cast.patterns))]]
    line = BASS_LINES[cast.bass_lines[rng.integers(len(cast.bass_lines))]]
    for chord in chords:
        low = _within(chord.root + 36, "bass")
        for start, length, pitch in line(chord, low):
            for instrument in instruments["bass"]:
                yield ArrangedNote("bass", instrument, start, length, pitch, 0.7)
        for start, length, pitches, strength in pattern(chord):
            for instrument in instruments["inner"]:
                for pitch in pitches:
                    yield ArrangedNote("inner", instrument, start, length, pitch, strength)


def _at(chords: list[Chord], start: float) -> Chord:
    return next(chord for chord in reversed(chords) if chord.start <= start + 1e-6)


def _second_voice(pitch: int, chord: Chord) -> int:
    """The nearest tone of the chord that is a third or more below."""
    return next(low for low in range(pitch - 3, pitch - 15, -1) if low % 12 in chord.classes)


def _within(pitch: int, role: str) -> int:
    """The pitch moved by octaves into the role's range."""
    low, high = RANGES[role]
    while pitch < low:
        pitch += 12
    while pitch > high:
        pitch -= 12
    return pitch


def _close(chord: Chord, lowest: int = 48) -> list[int]:
    """The triad from `lowest` upwards."""
    return sorted(lowest + (tone - lowest) % 12 for tone in chord.classes)


Step = tuple[float, float, list[int], float]
"""Start, length, pitches, strength."""


def _held(chord: Chord) -> Iterator[Step]:
    yield chord.start, chord.length, _close(chord), 0.5


def _repeated(chord: Chord) -> Iterator[Step]:
    for number in range(round(chord.length * 2)):
        yield chord.start + number / 2, 0.42, _close(chord), 0.5 if number % 2 else 0.6


def _off_beat(chord: Chord) -> Iterator[Step]:
    for number in range(int(chord.length)):
        yield chord.start + number + 0.5, 0.4, _close(chord), 0.5


def _arpeggio(chord: Chord) -> Iterator[Step]:
    tones = _close(chord)
    order = [*tones, tones[0] + 12, tones[2], tones[1]]
    for number in range(round(chord.length * 2)):
        yield chord.start + number / 2, 0.9, [order[number % 6]], 0.55


def _alberti(chord: Chord) -> Iterator[Step]:
    low, middle, high = _close(chord)
    for number in range(round(chord.length * 2)):
        yield chord.start + number / 2, 0.5, [(low, high, middle, high)[number % 4]], 0.5


def _strummed(chord: Chord) -> Iterator[Step]:
    tones = _close(chord, 52)
    strings = [tones[0] - 12, *tones, tones[0] + 12]
    for place, part in ((0.0, 1.0), (1.0, 0.5), (1.5, 0.5)):
        if place < chord.length:
            ordered = strings if place % 1 == 0 else strings[::-1]
            for number, pitch in enumerate(ordered):
                yield chord.start + place + 0.02 * number, part, [pitch], 0.55


def _power(chord: Chord) -> Iterator[Step]:
    root = _within(chord.root + 36, "inner")
    for number in range(round(chord.length * 2)):
        yield chord.start + number / 2, 0.45 if number % 4 else 0.9, [root, root + 7, root + 12], 0.8


PATTERNS: dict[str, Callable[[Chord], Iterator[Step]]] = {
    "held": _held,
    "repeated": _repeated,
    "off-beat": _off_beat,
    "arpeggio": _arpeggio,
    "alberti": _alberti,
    "strummed": _strummed,
    "power": _power,
}


BassNote = tuple[float, float, int]
"""Start, length, pitch."""


def _held_bass(chord: Chord, low: int) -> Iterator[BassNote]:
    yield chord.start, chord.length * 0.95, low


def _eighths(chord: Chord, low: int) -> Iterator[BassNote]:
    for number in range(round(chord.length * 2)):
        yield chord.start + number / 2, 0.4, low


def _off_beat_bass(chord: Chord, low: int) -> Iterator[BassNote]:
    for number in range(int(chord.length)):
        yield chord.start + number + 0.5, 0.4, low


def _octaves(chord: Chord, low: int) -> Iterator[BassNote]:
    for number in range(round(chord.length * 2)):
        yield chord.start + number / 2, 0.4, low + 12 * (number % 2)


BASS_LINES: dict[str, Callable[[Chord, int], Iterator[BassNote]]] = {
    "held": _held_bass,
    "eighths": _eighths,
    "off-beat": _off_beat_bass,
    "octaves": _octaves,
}


def _drums(piece: Piece, pattern: dict[str, str]) -> Iterator[ArrangedNote]:
    for bar in range(int(piece.quarters // 4)):
        for drum, signs in pattern.items():
            for step, sign in enumerate(signs):
                if sign in ACCENTS and not (drum == "crash" and bar % 4):
                    start = 4 * bar + step / 4
                    if drum == "timpani":
                        yield ArrangedNote("drums", "timpani", start, 1.0, 36 + piece.tonic, ACCENTS[sign])
                    else:
                        yield ArrangedNote("drums", "drums", start, 0.2, DRUM_NOTES[drum], ACCENTS[sign])
