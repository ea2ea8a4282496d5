"""Chords under a tune: the triad of the key that holds most of each half bar's notes."""

from __future__ import annotations

from dataclasses import dataclass

from .scores import Piece

_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
_PREFERENCE = {"major": (0.6, 0.0, -0.2, 0.4, 0.5, 0.2, -0.8), "minor": (0.6, -0.8, 0.1, 0.3, 0.3, 0.2, 0.3)}
"""By degree: where several fit, the tonic, its dominant and its subdominant lead."""


@dataclass(frozen=True)
class Chord:
    start: float
    """Quarter notes."""
    length: float
    root: int
    """Pitch class."""
    third: int
    """Semitones from root to third."""
    fifth: int

    @property
    def classes(self) -> tuple[int, int, int]:
        return self.root, (self.root + self.third) % 12, (self.root + self.fifth) % 12


def harmonise(piece: Piece) -> list[Chord]:
    """One chord for each half bar of the tune (for each bar in triple time)."""
    span = piece.bar / 2 if piece.bar >= 4 else piece.bar
    scale = _SCALES[piece.mode]
    chords: list[Chord] = []
    start = 0.0
    while start < piece.quarters - 1e-6:
        weights = [0.0] * 12
        for first, length, pitch in piece.notes:
            overlap = min(first + length, start + span) - max(first, start)
            if overlap > 0:
                weights[pitch % 12] += overlap * (1.5 if abs(first - start) < 0.01 else 1.0)
        best = max(range(7), key=lambda degree: _fit(piece, scale, degree, weights, span))
        root = (piece.tonic + scale[best]) % 12
        third, fifth = ((scale[(best + step) % 7] - scale[best]) % 12 for step in (2, 4))
        chords.append(Chord(start, min(span, piece.quarters - start), root, third, fifth))
        start += span
    return chords


def _fit(piece: Piece, scale: tuple[int, ...], degree: int, weights: list[float], span: float) -> float:
    inside = sum(weights[(piece.tonic + scale[(degree + step) % 7]) % 12] for step in (0, 2, 4))
    return inside + 0.3 * span * _PREFERENCE[piece.mode][degree]
