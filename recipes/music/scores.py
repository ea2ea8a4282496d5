"""Public-domain tunes as plain notes, from collections of music21's corpus (see `recipes/SOURCES.md`).

Only pitch and duration are taken; how a piece sounds is decided in `arrangement.py` and `performance.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

COLLECTIONS = ("ryansMammoth", "oneills1850", "airdsAirs")


@dataclass(frozen=True)
class Piece:
    """A tune as plain notes.

    Attributes:
        name: of the file in the corpus, with a number where it holds several pieces.
        collection: one of `COLLECTIONS`.
        bar: quarter notes to a bar.
        tonic: pitch class, 0 is C.
        mode: `major` or `minor`; the other modes count as the nearer of the two.
        notes: start and length in quarter notes, and MIDI pitch; the first full bar starts at 0.
        beat: quarter notes to a beat: 1, or 1.5 in compound time such as 6/8.
    """

    name: str
    collection: str
    bar: float
    tonic: int
    mode: str
    notes: list[tuple[float, float, int]]
    beat: float = 1.0

    @property
    def quarters(self) -> float:
        return max(start + length for start, length, _ in self.notes)


def write_pieces(path: Path, limits: dict[str, int]) -> None:
    """Read up to `limits[collection]` pieces of each collection into `path`, one JSON object a line.

    Needs the package `music21`.
    """
    from music21 import corpus

    partial = path.with_suffix(".partial")
    with partial.open("w") as lines:
        for collection in COLLECTIONS:
            for piece in _take(_pieces(corpus, collection), limits[collection]):
                lines.write(json.dumps(asdict(piece)) + "\n")
    partial.rename(path)


def read_pieces(path: Path) -> list[Piece]:
    return [Piece(**json.loads(line)) for line in path.read_text().splitlines()]


def _take(pieces: Iterator[Piece], count: int) -> Iterator[Piece]:
    for _, piece in zip(range(count), pieces, strict=False):
        yield piece


def _pieces(corpus: Any, collection: str) -> Iterator[Piece]:
    for path in sorted(corpus.getComposer(collection)):
        if path.suffix == ".abc":
            scores = corpus.parse(path)
            for number, score in enumerate(scores.scores if hasattr(scores, "scores") else [scores]):
                piece = _piece(score, f"{path.stem}/{number}", collection)
                if piece:
                    yield piece


def _piece(score: Any, name: str, collection: str) -> Piece | None:
    """The score as notes; None if it has no metre or is shorter than four bars."""
    metres = list(score.recurse().getElementsByClass("TimeSignature"))
    keys = list(score.recurse().getElementsByClass("Key"))
    if not metres or not keys:
        return None
    bar = float(metres[0].barDuration.quarterLength)
    beat = 1.5 if metres[0].beatDivisionCount == 3 else 1.0
    major = keys[0] if keys[0].mode in ("major", "mixolydian", "lydian") else None
    part = score.parts.first()
    first = part.getElementsByClass("Measure").first()
    pickup = float(first.duration.quarterLength) % bar if first is not None else 0.0
    notes = [
        (float(note.offset) - pickup, float(note.quarterLength), max(pitch.midi for pitch in note.pitches))
        for note in part.stripTies().flatten().notes
        if note.pitches and note.quarterLength > 0 and note.offset >= pickup
    ]
    if not notes or notes[-1][0] < 4 * bar:
        return None
    return Piece(name, collection, bar, keys[0].tonic.pitchClass, "major" if major else "minor", notes, beat)
