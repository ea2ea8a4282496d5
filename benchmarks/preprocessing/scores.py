"""Songs with known tempo, key and bars: public-domain tunes, arranged and played on sampled instruments.

Needs `pyfluidsynth`, SoundFonts, and the tunes that `python -m recipes.music scores` writes; see
recipes/SOURCES.md. No tune is on both sides: `HELD_OUT` tunes are measured, the others may be fitted on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from preprocessing.musical_key import NOTES
from recipes.music import effects
from recipes.music.arrangement import ArrangedNote, Arrangement, arrange_piece
from recipes.music.ensembles import ENSEMBLES
from recipes.music.performance import PlayedNote, draw_humanisation, perform
from recipes.music.sampler import Sampler
from recipes.music.scores import Piece, read_pieces

RATE = 22_050
SEED = 7
HELD_OUT = 140
"""Tunes, of the shuffled list."""
SECONDS = (20.0, 35.0)
SPREAD_BPM = (60.0, 200.0)
NOTES_A_SECOND = (1.2, 8.0)
"""How slow and how fast a tune may be played."""
MAX_DETUNE_CENTS = 30.0
BAR_MARK = "bar mark"
"""Role of silent notes at each bar line, from which the bars' times are read."""


@dataclass(frozen=True)
class Truth:
    """The true values of a rendered song.

    Attributes:
        held_out: whether its tune must not be fitted on.
        bpm: quarter notes a minute, as played.
        spread: whether the tempo was drawn from SPREAD_BPM, and not from the ensemble's usual tempos.
        key: such as "A minor".
        bar: quarter notes to a bar.
        first_bar: when the first whole bar begins, in seconds.
        beat: quarter notes to a beat: 1, or 1.5 in compound time such as 6/8.
    """

    piece: str
    ensemble: str
    drums: bool
    held_out: bool
    bpm: float
    spread: bool
    key: str
    bar: float
    first_bar: float
    beat: float

    @property
    def beats_per_bar(self) -> int:
        """As analysis is told; a bar of four beats may hold two of the tune's."""
        return 4 if self.bar in (2, 4) else 3

    @property
    def bar_seconds(self) -> float:
        return self.bar * 60 / self.bpm


def read_songs(folder: Path, *, held_out: bool) -> Iterator[tuple[Path, Truth]]:
    """The rendered songs of one side."""
    for path in sorted(folder.glob("*.json")):
        truth = Truth(**json.loads(path.read_text()))
        if truth.held_out == held_out:
            yield path.with_suffix(".flac"), truth


def render(pieces: str, font: str, folder: str, first: int, songs: int) -> None:
    """Render songs `first` to `first + songs`; `font` is one SoundFont, or several with commas between them."""
    write_songs(Path(folder), read_pieces(Path(pieces)), [Path(one) for one in font.split(",")], first, songs)


def write_songs(folder: Path, pieces: list[Piece], fonts: list[Path], first: int, songs: int) -> None:
    """Render songs into `folder`, as FLAC and JSON; existing ones are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(SEED).permutation(len(pieces))
    samplers = [Sampler(font, RATE) for font in fonts]
    for number in range(first, first + songs):
        path = folder / f"{number:04d}.flac"
        if path.with_suffix(".json").exists():
            continue
        place = number % len(pieces)
        rng = np.random.default_rng([SEED, number])
        audio, truth = _song(pieces[order[place]], place < HELD_OUT, samplers[number % len(samplers)], rng)
        soundfile.write(path, audio, RATE)
        path.with_suffix(".json").write_text(json.dumps(asdict(truth)))


def _song(
    piece: Piece, held_out: bool, sampler: Sampler, rng: np.random.Generator
) -> tuple[NDArray[np.float32], Truth]:
    """Mono audio, (frames,), that begins with a bar, with an upbeat or anywhere."""
    ensemble = list(ENSEMBLES)[rng.integers(len(ENSEMBLES))]
    arrangement, spread = _at_a_tempo(arrange_piece(piece, ensemble, rng), rng)
    bar_seconds = piece.bar * 60 / arrangement.bpm
    skipped = [0.0, bar_seconds * (1 - 1 / piece.bar) - 0.03, rng.uniform(0, 4 * bar_seconds)][rng.integers(3)]
    silence = rng.uniform(0, 1) * rng.integers(2)
    seconds = rng.uniform(*SECONDS)
    whole = -(-piece.quarters // piece.bar) * bar_seconds
    turns = int((SECONDS[1] + skipped) / whole)
    if rng.random() < 0.5 and turns and turns * whole - skipped > SECONDS[0] / 2:
        seconds = turns * whole - skipped  # it ends with the tune
    drums = "drums" in arrangement.instruments
    played = perform(_with_bar_marks(arrangement), draw_humanisation(rng, drums), seconds + skipped, rng)
    moved = [
        replace(note, start=note.start - skipped + silence, end=note.end - skipped + silence)
        for note in played
        if note.start >= skipped
    ]
    marks = sorted(note.start for note in moved if note.role == BAR_MARK)
    notes = [note for note in moved if note.role != BAR_MARK]
    cast = ENSEMBLES[ensemble]
    cents = rng.uniform(-MAX_DETUNE_CENTS, MAX_DETUNE_CENTS)
    audio = sampler.render(notes, _end(notes), cents, int(rng.choice((0, 16)))).mean(0)
    audio = effects.distort(audio, cast.drive * rng.uniform(0.3, 1.0))
    audio = effects.room(audio, RATE, rng.uniform(*cast.room), rng.uniform(0.1, 0.7), rng)
    truth = Truth(
        piece.name,
        ensemble,
        drums,
        held_out,
        60 * piece.bar * (len(marks) - 1) / (marks[-1] - marks[0]),
        spread,
        f"{NOTES[arrangement.piece.tonic]} {piece.mode}",
        piece.bar,
        marks[0],
        piece.beat,
    )
    return effects.master(audio, RATE, rng), truth


def _at_a_tempo(arrangement: Arrangement, rng: np.random.Generator) -> tuple[Arrangement, bool]:
    """The arrangement at its own tempo, or half of the time at one of SPREAD_BPM at which the tune can be played."""
    if rng.random() < 0.5:
        return arrangement, False
    density = len(arrangement.piece.notes) / arrangement.piece.quarters / 60
    lowest, highest = (rate / density for rate in NOTES_A_SECOND)
    limits = np.log(np.clip((lowest, highest), *SPREAD_BPM))
    return replace(arrangement, bpm=round(float(np.exp(rng.uniform(*limits))))), True


def _with_bar_marks(arrangement: Arrangement) -> Arrangement:
    bars = range(int(-(-arrangement.piece.quarters // arrangement.piece.bar)))
    marks = [ArrangedNote(BAR_MARK, BAR_MARK, bar * arrangement.piece.bar, 0.1, 0, 0.5) for bar in bars]
    return replace(arrangement, notes=sorted([*arrangement.notes, *marks], key=lambda note: note.start))


def _end(notes: list[PlayedNote]) -> float:
    return max(note.end for note in notes) + 1.0
