"""Edits by ACE-Step's starter, as the service makes them: sampled, decoded, and spliced into their source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np
import torch
from numpy.typing import NDArray

from contract import Task
from generation.editing.recordings import Samples, Source
from generation.editing.splice import splice
from generation.editing.windows import Window
from generation.encode import Sound
from models.ace_step import AceStep
from models.base import Edit, Latents, Recording, Row
from models.checkpoints import STARTER, resolve
from models.tiny import ace_step as tiny
from recipes.synthesiser import Song, sample_song
from runners.messages import Audio

# Songs of a set of their own: the starters were trained and evaluated on others.
_SONGS = 22
_BATCH_ROWS = 4


def load() -> AceStep:
    checkpoint = resolve(STARTER, AceStep.backend, tiny.build)
    return AceStep.load(checkpoint, torch.device("cpu"), torch.float32)


def song(number: int) -> Song:
    """A song with drums, at an even tempo, since the starter knows no others."""
    drawn = sample_song(np.random.default_rng([_SONGS, number]), drums=True)
    return replace(drawn, bpm=2 * round(drawn.bpm / 2))


def made(model: AceStep, rows: Sequence[Row]) -> list[tuple[Samples, Latents]]:
    """The samples `(frames, channels)`, in 16 bits as they are stored, and the latents of each row."""
    kept: list[list[Latents]] = [[] for _ in rows]
    asked = [replace(row, keep=latents.append) for row, latents in zip(rows, kept, strict=True)]
    tracks: list[Samples] = []
    for first in range(0, len(asked), _BATCH_ROWS):
        for track in model.generate(asked[first : first + _BATCH_ROWS]):
            if isinstance(track, Exception):
                raise track
            tracks.append(track)
    return [(in_16_bits(track.T), latents[0]) for track, latents in zip(tracks, kept, strict=True)]


def edited(
    model: AceStep, rows: Sequence[Row], sources: Sequence[Samples], windows: Sequence[Window]
) -> list[tuple[Samples, Latents]]:
    """`made`, with the samples outside the windows from the sources."""
    results = []
    for (samples, latents), source, window in zip(made(model, rows), sources, windows, strict=True):
        recording = Source(Audio(flac=b"", sha256=""), "", None, source, model.sample_rate, "int16", 1.0)
        whole = splice(recording, Sound((samples,), model.sample_rate), window)
        results.append((in_16_bits(whole.floats()), latents))
    return results


def edit(model: AceStep, source: Samples, window: Window, latents: Latents | None = None) -> Edit:
    """A repaint of the window, or an extension where the track is longer than its source."""
    rate = model.sample_rate
    before, total = round(window.before * rate), round(window.length * rate)
    padded = np.pad(source.T, ((0, 0), (before, max(0, total - before - len(source)))))[:, :total]
    digest = sha256(padded.tobytes() + (latents.values.tobytes() if latents else b"")).hexdigest()
    task: Task = "extend" if total > len(source) else "repaint"
    recording = Recording(np.ascontiguousarray(padded, np.float32), digest, latents)
    return Edit(task, recording, window.start, window.end, before=window.before)


def in_16_bits(samples: NDArray[np.float32]) -> Samples:
    return (np.rint(np.clip(samples, -1, 1) * np.float32(32767)) / np.float32(32768)).astype(np.float32)
