"""Evaluate a checkpoint: measures of its music beside those of the synthesiser and of the codec, and spectrograms."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ..synthesiser import GENRES, Song, text
from ..synthesiser.arrange import form
from . import measures
from .checkpoint import LoadedStarter
from .data import EVALUATION, SAMPLE_RATE, VALIDATION, audio_of, song_number
from .pictures import draw_spectrograms

SECONDS = 10.0
CLASSIFIER_SONGS = 320


@dataclass
class Measured:
    """The measures of one piece."""

    song: Song
    features: np.ndarray
    onset_envelope: np.ndarray
    tempo: float
    key: tuple[int, str]
    drums: float


def measure(song: Song, audio: np.ndarray, rate: int) -> Measured:
    """Measure mono audio `[samples]` that was generated for `song`."""
    audio = librosa.resample(audio, orig_sr=rate, target_sr=measures.RATE)
    audio = 0.8 * audio / max(float(np.abs(audio).max()), 1e-6)
    onset_envelope = measures.onsets(audio)
    return Measured(
        song,
        measures.genre_features(audio, onset_envelope),
        onset_envelope,
        measures.tempo(onset_envelope),
        measures.key(audio),
        measures.drum_strength(audio),
    )


def genre_classifier(count: int = CLASSIFIER_SONGS) -> Pipeline:
    """A logistic regression from audio features to genre, trained on the synthesiser's songs."""
    songs = [song_number(VALIDATION, 1000 + number) for number in range(count)]
    measured = [measure(song, audio_of(song, SECONDS), SAMPLE_RATE) for song in songs]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    return model.fit(np.stack([piece.features for piece in measured]), [GENRES.index(s.genre) for s in songs])


def prompt_adherence(pieces: list[Measured], classifier: Pipeline) -> dict[str, object]:
    """How well pieces follow their prompts."""
    wanted = np.array([GENRES.index(piece.song.genre) for piece in pieces])
    guessed = classifier.predict(np.stack([piece.features for piece in pieces]))
    beats = [piece for piece in pieces if piece.song.drums]
    near = [measures.tempo_error(piece.tempo, piece.song.bpm) < 0.04 for piece in beats]
    others = [beats[(n + len(beats) // 2) % len(beats)].song.bpm for n in range(len(beats))]
    shuffled = [measures.tempo_error(piece.tempo, bpm) < 0.04 for piece, bpm in zip(beats, others, strict=True)]
    silent = [piece.drums for piece in pieces if not piece.song.drums]
    return {
        "genre": np.mean(guessed == wanted),
        "genres": {g: np.mean(guessed[wanted == n] == n) for n, g in enumerate(GENRES) if (wanted == n).any()},
        "bpm within 4 %": np.mean(near),
        "bpm within 4 %, shuffled prompts": np.mean(shuffled),
        "pulse at bpm": np.mean([measures.pulse(piece.onset_envelope, piece.song.bpm) for piece in beats]),
        "pulse at 1.13 bpm": np.mean([measures.pulse(piece.onset_envelope, 1.13 * piece.song.bpm) for piece in beats]),
        "drums AUC": np.mean([piece.drums > other for piece in beats for other in silent]) if silent else None,
        "key": np.mean([measures.same_key(piece.key, (piece.song.root, piece.song.mode)) for piece in pieces]),
    }


def evaluate(starter: LoadedStarter, target: Path, count: int, sampling: dict[str, Any]) -> None:
    """Print the table of measures, and write it with spectrograms and audio to `target`.

    Args:
        sampling: fields of `Row` that override the checkpoint's defaults.
    """
    target.mkdir(parents=True, exist_ok=True)
    songs = [song_number(EVALUATION, number) for number in range(count)]
    truth = [audio_of(song, SECONDS) for song in songs]
    classifier = genre_classifier()
    table: dict[str, object] = {"prompts": count, "sampling": sampling or "default"}
    table["synthesiser"] = prompt_adherence(
        [measure(song, audio, SAMPLE_RATE) for song, audio in zip(songs, truth, strict=True)], classifier
    )
    show(table, "synthesiser")

    rate = starter.model.sample_rate
    decoded = [starter.reconstruct(audio) for audio in truth]
    table["reconstruction"] = measures.reconstruction_table(np.stack(truth), np.stack(decoded))
    show(table, "reconstruction")
    table["codec"] = prompt_adherence(
        [measure(s, audio, rate) for s, audio in zip(songs, decoded, strict=True)], classifier
    )
    show(table, "codec")

    rng = np.random.default_rng(EVALUATION)
    made, taken = [], []
    for number, song in enumerate(songs):
        asked = text(song, rng, held_out=True)
        started = time.monotonic()
        made.append(starter.generate(asked, SECONDS, number, **sampling))
        taken.append(time.monotonic() - started)
        if number < len(GENRES):
            soundfile.write(target / f"{song.genre.replace(' ', '-')}.wav", made[-1], rate)
    table["generated"] = prompt_adherence(
        [measure(s, audio, rate) for s, audio in zip(songs, made, strict=True)], classifier
    )
    table["generated"]["x real time"] = SECONDS / float(np.median(taken))  # type: ignore[index]
    show(table, "generated")
    table["a minute"] = minute_form(starter, sampling)
    show(table, "a minute")

    first = range(min(count, len(GENRES)))
    rows = [(songs[n].genre, truth[n], decoded[n], made[n]) for n in first]
    draw_spectrograms(rows, rate, target / "spectrograms.png")
    (target / "table.json").write_text(json.dumps(table, indent=1, default=_rounded))


def minute_form(starter: LoadedStarter, sampling: dict[str, Any]) -> dict[str, float]:
    """Whether a minute of music has a form: bass energy in the drop over the break, and the pulse towards the end."""
    rate, louder, early, late = starter.model.sample_rate, [], [], []
    rng = np.random.default_rng(0)
    for number, genre in enumerate(("trap", "house", "techno", "synthwave")):
        song = next(s for s in (song_number(EVALUATION, n) for n in range(5000, 5200)) if s.genre == genre and s.drums)
        audio = starter.generate(text(song, rng, held_out=True), 60.0, number, **sampling)
        bar = song.bar_seconds * rate
        sections = form(song, 60.0)
        low = measures.band(audio, 20, 200, rate)
        energy = [np.square(low[int(n * bar) : int((n + 1) * bar)]).mean() for n in range(len(sections) - 1)]
        parts = {
            name: np.mean([e for e, section in zip(energy, sections, strict=False) if section == name])
            for name in ("break", "drop")
        }
        louder.append(10 * np.log10(parts["drop"] / (parts["break"] + 1e-9)))
        thirds = np.array_split(librosa.resample(audio, orig_sr=rate, target_sr=measures.RATE), 3)
        early.append(measures.pulse(measures.onsets(thirds[1]), song.bpm))
        late.append(measures.pulse(measures.onsets(thirds[2]), song.bpm))
    return {
        "bass, drop over break, dB": float(np.mean(louder)),
        "pulse at bpm, 20 to 40 s": float(np.mean(early)),
        "pulse at bpm, 40 to 60 s": float(np.mean(late)),
    }


def show(table: dict[str, object], part: str) -> None:
    print(part, json.dumps(table[part], default=_rounded), flush=True)


def _rounded(value: object) -> float:
    return round(float(value), 3)  # type: ignore[arg-type]
