"""A song as a set of parameters, which `sample_song` draws and `render` renders."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .drums import KITS
from .genres import GENRES, STYLES

NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
SCALES = {"minor": (0, 2, 3, 5, 7, 8, 10), "major": (0, 2, 4, 5, 7, 9, 11)}


@dataclass(frozen=True)
class Song:
    """One piece of music. The same song renders to the same samples."""

    genre: str
    bpm: int
    root: int
    """Pitch class of the tonic: 0 is C."""
    mode: str
    """`minor` or `major`."""
    bass: str | None
    chord: str | None
    melody: str | None
    drums: bool
    mood: str
    swing: float
    """Delay of every second sixteenth, as a share of a sixteenth."""
    kit: int
    groove: int
    """Index of the genre's drum pattern, bass line and chord rhythm."""
    seed: int
    """Of the motif and the fills."""

    @property
    def key(self) -> str:
        return f"{NOTES[self.root]} {self.mode}"

    @property
    def beats_per_bar(self) -> int:
        return STYLES[self.genre].beats

    @property
    def bar_seconds(self) -> float:
        return self.beats_per_bar * 60 / self.bpm

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values; `Song(**d)` restores the song."""
        return asdict(self)


def sample_song(rng: np.random.Generator, genre: str | None = None, **fixed: Any) -> Song:
    """Draw a song; `fixed` pins any field of `Song` by name.

    Without `genre`, one of `GENRES` is drawn. Styles that the starters were not trained on must be named.
    """
    name = genre or GENRES[rng.integers(len(GENRES))]
    if name not in STYLES:
        raise ValueError(f"unknown genre {name!r}; known: {', '.join(STYLES)}")
    style = STYLES[name]
    low, high = style.bpm

    def pick(options: tuple[Any, ...]) -> Any:
        return options[rng.integers(len(options))]

    drawn: dict[str, Any] = {
        "bpm": int(rng.integers(low, high + 1)),
        "root": int(rng.integers(12)),
        "mode": "minor" if rng.random() < style.minor else "major",
        "bass": pick(style.basses),
        "chord": pick(style.chords),
        "melody": pick(style.melodies),
        "drums": bool(rng.random() < style.drum_share),
        "mood": pick(style.moods),
        "swing": style.swing,
        "kit": int(rng.integers(KITS)),
        "groove": int(rng.integers(len(style.grooves))),
        "seed": int(rng.integers(2**31)),
    }
    if drawn["chord"] is None and drawn["melody"] is None:
        drawn["melody"] = next(m for m in style.melodies if m)
    unknown = set(fixed) - set(drawn)
    if unknown:
        raise TypeError(f"a song has no field {', '.join(sorted(unknown))}")
    return Song(genre=name, **{**drawn, **fixed})
