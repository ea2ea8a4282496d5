"""Evaluate the tasks of a checkpoint on the synthesiser's songs, by the service's own rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import librosa
import numpy as np
import soundfile

from contract.tasks import Task, TrackName
from models.base import Edit, Recording, Text

from ....synthesiser import GENRES, Song, text
from ....synthesiser.render import TRACKS, render_parts
from ....synthesiser.stems import sibling, stems, with_instruments
from ... import measures
from ...checkpoint import LoadedStarter
from ...data import EVALUATION, SAMPLE_RATE, audio_of, on_the_clock, song_number
from ...evaluate import show
from . import measures as task_measures

FIRST_SONG = 7000
"""Of the evaluation set; those below are text-to-music's."""
SECONDS = 12.0
WINDOW = (3.0, 9.0)
REFERENCES = 4


@dataclass(frozen=True)
class Case:
    """One song of the evaluation.

    Attributes:
        audio: mono `[samples]`, `SECONDS` long.
        told: a prompt with tempo and key.
        untold: a prompt without, so that they are in the source alone.
    """

    number: int
    song: Song
    audio: np.ndarray
    told: Text
    untold: Text


def cases(count: int) -> list[Case]:
    """The first `count` songs with drums; at even tempos, as the starter knows no others."""
    found: list[Case] = []
    number = FIRST_SONG
    while len(found) < count:
        song = on_the_clock(song_number(EVALUATION, number))
        rng = np.random.default_rng([EVALUATION, number, 3])
        if song.drums:
            told = text(song, rng, held_out=True)
            caption = told.prompt.split(f", {song.bpm} bpm")[0].split(f", {song.key}")[0]
            untold = Text(caption, time_signature=told.time_signature)
            found.append(Case(number, song, audio_of(song, SECONDS), replace(told, prompt=caption), untold))
        number += 1
    return found


def evaluate_tasks(starter: LoadedStarter, target: Path, count: int) -> None:
    """Print the table of measures, and write it and the first sounds of each task to `target`."""
    target.mkdir(parents=True, exist_ok=True)
    evaluation = _Evaluation(starter, cases(count), target)
    table: dict[str, object] = {"cases": count}
    for name in ("repaint", "extend", "cover", "reference", "stems"):
        table[name] = getattr(evaluation, name)()
        show(table, name)
        (target / "tasks.json").write_text(json.dumps(table, indent=1, default=lambda value: round(float(value), 3)))


class _Evaluation:
    def __init__(self, starter: LoadedStarter, found: list[Case], target: Path) -> None:
        self.starter, self.cases, self.target = starter, found, target
        self.rate = starter.model.sample_rate

    def repaint(self) -> dict[str, object]:
        """Pulse and key inside the window, against text-to-music's in the same seconds and other songs' sources."""
        half = len(self.cases) // 2
        others = self.cases[half:] + self.cases[:half]
        edits = [self._edit("repaint", case.audio, *WINDOW) for case in self.cases]
        shuffled = [self._edit("repaint", case.audio, *WINDOW) for case in others]
        return {
            "text": self._pulse_and_key([self._make(case, case.told) for case in self.cases]),
            "told": self._pulse_and_key(self._all(self.cases, edits, told=True)),
            "told, other source": self._pulse_and_key(self._all(self.cases, shuffled, told=True)),
            "untold": self._pulse_and_key(self._all(self.cases, edits, told=False)),
            "untold, other source": self._pulse_and_key(self._all(self.cases, shuffled, told=False)),
            "synthesiser": self._pulse_and_key([_at_rate(case.audio) for case in self.cases]),
        }

    def _all(self, found: Sequence[Case], edits: Sequence[Edit], told: bool) -> list[np.ndarray]:
        return [
            self._make(case, case.told if told else case.untold, edit) for case, edit in zip(found, edits, strict=True)
        ]

    def _pulse_and_key(self, made: Sequence[np.ndarray]) -> dict[str, float]:
        inside = [audio[int(WINDOW[0] * measures.RATE) : int(WINDOW[1] * measures.RATE)] for audio in made]
        songs = [case.song for case in self.cases]
        pulses = [measures.pulse(measures.onsets(part), song.bpm) for part, song in zip(inside, songs, strict=True)]
        keys = [
            measures.same_key(measures.key(part), (song.root, song.mode))
            for part, song in zip(inside, songs, strict=True)
        ]
        return {"pulse": float(np.mean(pulses)), "key": float(np.mean(keys))}

    def extend(self) -> dict[str, object]:
        """Tempo and phase of two new bars after the source, with tempo and key in the prompt and without."""

        def measured(part: Callable[[Case, float], np.ndarray]) -> dict[str, float]:
            tempos, offsets = [], []
            for case in self.cases:
                bar = case.song.bar_seconds
                cut = 2 * bar * max(1, int(SECONDS / 2 / (2 * bar)))
                audio, source = part(case, cut), _at_rate(case.audio)
                first, size = int(cut * measures.RATE), int(2 * bar * measures.RATE)
                new = audio[first : first + size]
                last = source[first - size : first][: len(new)]
                tempos.append(task_measures.tempo_ratio(audio[first:], case.song.bpm))
                offsets.append(task_measures.beat_offset(new, last, case.song.bpm))
            near, together = np.abs(np.array(tempos) - 1) < 0.02, np.abs(offsets) < 0.02
            return {"tempo": near.mean(), "phase": together.mean(), "both": (near & together).mean()}

        def made(told: bool) -> Callable[[Case, float], np.ndarray]:
            def make(case: Case, cut: float) -> np.ndarray:
                source = case.audio.copy()
                source[int(cut * SAMPLE_RATE) :] = 0
                edit = self._edit("extend", source, cut, SECONDS)
                return self._make(case, case.told if told else case.untold, edit)

            return make

        return {
            "told": measured(made(True)),
            "untold": measured(made(False)),
            "synthesiser": measured(lambda case, _: _at_rate(case.audio)),
        }

    def cover(self) -> dict[str, object]:
        """Likeness of the harmony to the source's, by strength; no prompt names a key.

        The prompts are the song's own, or of another genre, whose instruments change the likeness by themselves: that
        of the same notes on its instruments is told as `synthesiser`.
        """
        sources = [_at_rate(case.audio) for case in self.cases]
        others = []
        for number, case in enumerate(self.cases):
            following = self.cases[number + 1 :] + self.cases[:number]
            others.append(next(row for row in following if row.song.genre != case.song.genre))

        def likeness(made: Sequence[np.ndarray]) -> float:
            return float(np.mean([task_measures.chroma_likeness(a, b) for a, b in zip(made, sources, strict=True)]))

        def by_strength(named: Sequence[Case]) -> dict[str, float]:
            table = {}
            for strength in (1.0, 0.5, 0.0):
                made = [
                    self._make(
                        case,
                        replace(name.untold, bpm=case.song.bpm),
                        self._edit("cover", case.audio, strength=strength),
                    )
                    for case, name in zip(self.cases, named, strict=True)
                ]
                table[f"strength {strength:g}"] = likeness(made)
            return table

        return {
            "codec": likeness([_at_rate(self.starter.reconstruct(case.audio)) for case in self.cases]),
            "other songs": likeness(sources[1:] + sources[:1]),
            "own words": by_strength(self.cases),
            "other genre": {
                "synthesiser": likeness(
                    [
                        _at_rate(audio_of(with_instruments(case.song, other.song), SECONDS))
                        for case, other in zip(self.cases, others, strict=True)
                    ]
                ),
                **by_strength(others),
            },
        }

    def reference(self) -> dict[str, object]:
        """How often a track is nearer to its own reference than to three others, by 20 MFCC.

        The prompts name no instruments. The others are of any genre, which the prompt does not name either, or of the
        song's own genre.
        """
        return {
            "any genre": self._nearest(lambda song, rng: song_number(EVALUATION, int(rng.integers(9000, 9400))), ""),
            "same genre": self._nearest(
                lambda song, rng: song_number(EVALUATION, 9000 + 8 * int(rng.integers(50)) + GENRES.index(song.genre)),
                "{genre}",
            ),
        }

    def _nearest(self, other: Callable[[Song, np.random.Generator], Song], caption: str) -> dict[str, float]:
        right: dict[str, list[bool]] = {"with": [], "without": [], "synthesiser": []}
        chosen, features = [], []
        for case in self.cases:
            rng = np.random.default_rng([EVALUATION, case.number, 4])
            songs = [case.song, *(other(case.song, rng) for _ in range(REFERENCES - 1))]
            chosen.append([audio_of(sibling(song, rng), SECONDS) for song in songs])
            features.append(np.stack([task_measures.mfcc(_at_rate(audio)) for audio in chosen[-1]]))
        scale = np.concatenate(features).std(0)
        for case, references, known in zip(self.cases, chosen, features, strict=True):
            words = Text(caption.format(genre=case.song.genre), bpm=case.song.bpm, key=case.song.key)
            made = {
                "with": self._make(case, words, reference=_recording(references[0])),
                "without": self._make(case, words),
                "synthesiser": _at_rate(case.audio),
            }
            for name, audio in made.items():
                right[name].append(task_measures.nearest(task_measures.mfcc(audio), known, scale) == 0)
        return {name: float(np.mean(found)) for name, found in right.items()}

    def stems(self) -> dict[str, object]:
        """Likeness of the onsets to the synthesiser's drums: alone for lego and extract, in the mix for complete."""
        table: dict[str, object] = {}
        parts = []
        for case in self.cases:
            rest = tuple(track for name, of in stems(case.song).items() if name != "drums" for track in of)
            wanted = (TRACKS, ("kick", "drums"), rest)
            parts.append([part[0] for part in render_parts(case.song, SECONDS, wanted, SAMPLE_RATE, 1)])
        tasks: tuple[tuple[Task, int, int], ...] = (("lego", 2, 1), ("extract", 0, 1), ("complete", 2, 0))
        for task, source, target in tasks:
            made = [
                self._make(case, case.told, self._edit(task, found[source], tracks=("drums",)))
                for case, found in zip(self.cases, parts, strict=True)
            ]
            truth = [_at_rate(found[target]) for found in parts]
            pairs = {"own": truth, "other song's": truth[1:] + truth[:1]}
            table[task] = {
                name: np.mean([task_measures.onset_likeness(a, b) for a, b in zip(made, others, strict=True)])
                for name, others in pairs.items()
            }
        return table

    def _edit(
        self,
        task: Task,
        source: np.ndarray,
        start: float = 0.0,
        end: float = SECONDS,
        strength: float = 1.0,
        tracks: tuple[TrackName, ...] = (),
    ) -> Edit:
        return Edit(task, _recording(source), start, end, strength=strength, tracks=tracks)

    def _make(
        self, case: Case, words: Text, edit: Edit | None = None, reference: Recording | None = None
    ) -> np.ndarray:
        """A track at `measures.RATE`; the first of each kind is kept as a file."""
        audio = self.starter.generate(words, SECONDS, case.number, edit=edit, reference=reference)
        kind = edit.task if edit else "reference" if reference else "text"
        file = self.target / f"{kind}.wav"
        if case is self.cases[0]:
            soundfile.write(file, audio, self.rate)
        return _at_rate(audio)


def _at_rate(audio: np.ndarray) -> np.ndarray:
    return librosa.resample(audio, orig_sr=SAMPLE_RATE, target_sr=measures.RATE)


def _recording(audio: np.ndarray) -> Recording:
    return Recording(audio[None], hashlib.sha256(audio.tobytes()).hexdigest())
