"""Train a LoRA on 16 clips of a style that the starter was not trained on, and measure how close it gets.

Training and generation use the service's own trainer, loop, recipe and batched adapters.

The distance between two sets of clips is that of their mean timbres, in standard deviations over the training styles.
The reachable distance is that of other songs of the style after the codec; the share closed is relative to it.
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
from .checkpoint import LoadedStarter
from .data import EVALUATION, SAMPLE_RATE, audio_of, song_number

CLIPS, HELD_OUT, PROMPTS = 16, 8, 8
SECONDS = 10.0


def adapt(starter: LoadedStarter, styles: tuple[str, ...], steps: int | None) -> None:
    """Print, for each style, the distances before and after training with the service's recipe, or `steps` of it."""
    for style in styles or UNSEEN_STYLES:
        print(style, json.dumps(_adapt(starter, style, steps)), flush=True)


def _adapt(starter: LoadedStarter, style: str, steps: int | None) -> dict[str, float]:
    rng = np.random.default_rng([EVALUATION, UNSEEN_STYLES.index(style)])
    songs = [sample_song(rng, style) for _ in range(CLIPS + HELD_OUT)]
    audio = np.stack([audio_of(song, SECONDS) for song in songs])
    mix = _timbres(np.stack([audio_of(song_number(EVALUATION, 300 + n), SECONDS) for n in range(48)]))
    target, scale = _timbres(audio[:CLIPS]).mean(0), mix.std(0) + 1e-3

    def distance(timbres: np.ndarray) -> float:
        return float(np.linalg.norm((timbres.mean(0) - target) / scale) / np.sqrt(len(target)))

    def generated(songs: list[Song], adapters: Sequence[tuple[AdapterWeights, float]] = ()) -> np.ndarray:
        words = np.random.default_rng(1)
        return _timbres(
            np.stack([starter.generate(text(song, words), SECONDS, seed, adapters) for seed, song in enumerate(songs)])
        )

    reachable = distance(_timbres(np.stack([starter.reconstruct(song) for song in audio[CLIPS:]])))
    others = [sample_song(np.random.default_rng(n), "trap", drums=True) for n in range(PROMPTS)]
    before, other_before = distance(generated(songs[:PROMPTS])), distance(generated(others))

    started = time.monotonic()
    trainer, words = starter.trainer, np.random.default_rng(2)
    examples = [
        trainer.example(clip[None], text(song, words)) for clip, song in zip(audio[:CLIPS], songs[:CLIPS], strict=True)
    ]
    recipe = trainer.recipe(CLIPS * SECONDS)
    recipe = replace(recipe, steps=steps or recipe.steps)
    pairs = train(trainer, starter.model.adapted, examples, recipe, lambda step, loss: None)
    taken = time.monotonic() - started
    made_at = "2026-01-01T00:00:00+00:00"
    header = Header("starter", style, starter.model.backend, "starter", "0", recipe.rank, "adapt", made_at, "")
    twin = [(AdapterWeights(header, pairs), 1.0)]
    after, other_after = distance(generated(songs[:PROMPTS], twin)), distance(generated(others, twin))
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
