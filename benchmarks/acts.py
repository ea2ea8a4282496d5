"""How much a twin changes what each of ACE-Step's tasks makes, relative to how much it changes text-to-music."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import librosa
import numpy as np
from numpy.typing import NDArray

from adapters.adapter_file import Header
from adapters.weights import AdapterWeights
from benchmarks import starter
from benchmarks.measure import Figure, summarised
from benchmarks.training import clip_of
from contract import SamplingOptions
from contract.tasks import Task
from generation.editing.recordings import Samples
from generation.editing.windows import Window
from models.ace_step import AceStep
from models.base import Edit, Recording, Row
from recipes.synthesiser import UNSEEN_STYLES, Song, render, sample_song, text
from training.ace_step import AceStepTrainer
from training.loop import train

STYLE = UNSEEN_STYLES[0]
CLIPS, CLIP_SECONDS, STEPS = 12, 10.0, 200
CASES, SECONDS = 8, 8.0
_WINDOWS: dict[Task, Window] = {
    "text": Window(0.0, SECONDS, SECONDS),
    "repaint": Window(2.0, 6.0, SECONDS),
    "extend": Window(4.0, SECONDS, SECONDS),
    **dict.fromkeys(("cover", "lego", "extract", "complete"), Window(0.0, SECONDS, SECONDS)),
}


def measure(rounds: int) -> Iterator[Figure]:
    """For each task, the change of the new part's spectrum in dB over that of text-to-music, by song."""
    model = starter.load()
    twin = _twin(model)
    songs = [starter.song(number) for number in range(CASES)]
    changes = {task: _changes(model, songs, task, twin) for task in _WINDOWS}
    for task in list(_WINDOWS)[1:]:
        ratios = [change / of_text for change, of_text in zip(changes[task], changes["text"], strict=True)]
        yield summarised(f"{task}: change by a twin / that of text-to-music", "≥ 0.5", ratios)


def _twin(model: AceStep) -> AdapterWeights:
    """A twin of a style that the starter was not trained on."""
    rng = np.random.default_rng(0)
    trainer = AceStepTrainer(model)
    clips = [clip_of(model, sample_song(rng, STYLE), rng, CLIP_SECONDS) for _ in range(CLIPS)]
    recipe = replace(trainer.recipe(CLIPS * CLIP_SECONDS), steps=STEPS)
    pairs = train(trainer, model.adapted, [trainer.example(*clip) for clip in clips], recipe, lambda *_: None)
    header = Header("benchmark", STYLE, model.backend, "starter", "0", recipe.rank, "", "2026-01-01T00:00:00+00:00", "")
    return AdapterWeights(header, pairs)


def _changes(model: AceStep, songs: Sequence[Song], task: Task, twin: AdapterWeights) -> list[float]:
    """Mean difference of the spectra with and without the twin, of each song, in dB."""
    window = _WINDOWS[task]
    rows = [_row(model, song, task, number) for number, song in enumerate(songs)]
    without = starter.made(model, rows)
    having = starter.made(model, [replace(row, adapters=[(twin, 1.0)]) for row in rows])
    return [
        float(np.abs(_spectrum(model, made, window) - _spectrum(model, plain, window)).mean())
        for (made, _), (plain, _) in zip(having, without, strict=True)
    ]


def _row(model: AceStep, song: Song, task: Task, number: int) -> Row:
    words = text(song, np.random.default_rng(number), held_out=True)
    row = Row(words, SECONDS, SamplingOptions(seed=number))
    if task == "text":
        return row
    window = _WINDOWS[task]
    seconds = window.start if task == "extend" else SECONDS
    source = render(song, seconds, model.sample_rate, model.channels)
    if task in ("repaint", "extend"):
        return replace(row, edit=starter.edit(model, source.T, window))
    recording = Recording(np.ascontiguousarray(source), str(number))
    return replace(row, edit=Edit(task, recording, 0.0, SECONDS, tracks=("drums",)))


def _spectrum(model: AceStep, samples: Samples, window: Window) -> NDArray[np.float32]:
    """Mel bands over time of what the task made, in dB."""
    made = samples[round(window.start * model.sample_rate) : round(window.end * model.sample_rate)].mean(1)
    mel = librosa.feature.melspectrogram(y=made, sr=model.sample_rate, n_mels=64)
    return np.asarray(librosa.power_to_db(mel, top_db=60), np.float32)
