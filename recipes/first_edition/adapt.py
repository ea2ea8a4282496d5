"""Teach the starter a style that it never saw, by a LoRA of 16 clips, and measure how far it comes.

Training and generation are the service's own: its trainer, its loop and recipe, its rows with an adapter.

The distance between two sets of pieces is taken between their mean timbres, in deviations of the training mix. What
can be reached is the distance of other songs of that style after the codec; the share closed is of the way there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace

import librosa
import numpy as np

from adapters.adapter_file import Header
from adapters.weights import AdapterWeights
from training.loop import train

from ..synthesiser import UNSEEN_STYLES, Song, sample_song, text
from . import measures
from .data import EVALUATION, SAMPLE_RATE, audio_of, song_number
from .studio import Studio

CLIPS, HELD_OUT, ASKED = 16, 8, 8
SECONDS = 10.0


def adapt(studio: Studio, styles: tuple[str, ...], steps: int | None) -> None:
    """Print, for each style, the distances before and after training with the service's recipe, or `steps` of it."""
    for style in styles or UNSEEN_STYLES:
        print(style, json.dumps(_adapt(studio, style, steps)), flush=True)


def _adapt(studio: Studio, style: str, steps: int | None) -> dict[str, float]:
    rng = np.random.default_rng([EVALUATION, UNSEEN_STYLES.index(style)])
    songs = [sample_song(rng, style) for _ in range(CLIPS + HELD_OUT)]
    audio = np.stack([audio_of(song, SECONDS) for song in songs])
    mix = _timbres(np.stack([audio_of(song_number(EVALUATION, 300 + n), SECONDS) for n in range(48)]))
    target, scale = _timbres(audio[:CLIPS]).mean(0), mix.std(0) + 1e-3

    def distance(timbres: np.ndarray) -> float:
        return float(np.linalg.norm((timbres.mean(0) - target) / scale) / np.sqrt(len(target)))

    def asked(wanted: list[Song], adapters: Sequence[tuple[AdapterWeights, float]] = ()) -> np.ndarray:
        words = np.random.default_rng(1)
        return _timbres(
            np.stack([studio.generate(text(song, words), SECONDS, seed, adapters) for seed, song in enumerate(wanted)])
        )

    reachable = distance(_timbres(np.stack([studio.reconstruct(song) for song in audio[CLIPS:]])))
    others = [sample_song(np.random.default_rng(n), "trap", drums=True) for n in range(ASKED)]
    before, other_before = distance(asked(songs[:ASKED])), distance(asked(others))

    started = time.monotonic()
    trainer, words = studio.trainer, np.random.default_rng(2)
    examples = [
        trainer.example(clip[None], text(song, words)) for clip, song in zip(audio[:CLIPS], songs[:CLIPS], strict=True)
    ]
    recipe = trainer.recipe(CLIPS * SECONDS)
    recipe = replace(recipe, steps=steps or recipe.steps)
    pairs = train(trainer, studio.model.adapted, examples, recipe, lambda step, loss: None)
    taken = time.monotonic() - started
    made_at = "2026-01-01T00:00:00+00:00"
    header = Header("starter", style, studio.model.backend, "starter", "0", recipe.rank, "adapt", made_at, "")
    twin = [(AdapterWeights(header, pairs), 1.0)]
    after, other_after = distance(asked(songs[:ASKED], twin)), distance(asked(others, twin))
    return {
        "reachable": round(reachable, 3),
        "before": round(before, 3),
        "after": round(after, 3),
        "share closed": round((before - after) / (before - reachable), 3),
        "another genre, before": round(other_before, 3),
        "another genre, after": round(other_after, 3),
        "another genre keeps": round(other_after / other_before, 3),
        "steps": recipe.steps,
        "seconds": round(taken),
    }


def _timbres(audio: np.ndarray) -> np.ndarray:
    return np.stack(
        [
            measures.timbre(librosa.resample(a / np.abs(a).max(), orig_sr=SAMPLE_RATE, target_sr=measures.RATE))
            for a in audio
        ]
    )
