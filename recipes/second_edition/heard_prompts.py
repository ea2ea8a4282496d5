"""Whether prompts that the synthesiser has no genre for are heard: a tagger tells their tracks from one another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soxr
from sklearn.metrics import roc_auc_score

from models.base import Text
from preprocessing.tagger import musicnn
from recipes.first_edition.checkpoint import load_starter
from recipes.music.corpus import Shards

from .codec.architecture import RATE

NETWORK = "mtt"
SECONDS = 10.0
CLIPS = 16
"""Clips of the corpus for each kind."""
TAGS = {"orchestral": ("strings", "violin"), "piano": ("piano",), "guitar": ("guitar",), "rock": ("rock",)}
"""Of each kind the tags whose probabilities are summed."""
PROMPTS = {
    "orchestral": ("orchestral, strings", "symphonic, slow"),
    "piano": ("solo piano", "piano, sad"),
    "guitar": ("acoustic guitar", "guitar, slow"),
    "rock": ("rock band, drums", "guitar rock, fast"),
}
"""They name neither tempo nor key."""

Heard = dict[str, list[np.ndarray]]
"""Of each kind the tags' probabilities in each track."""


def print_heard(runs: Path, checkpoint: Path, seeds: int) -> None:
    """Print a table: the area under the ROC curve of each kind's tags, its own tracks against those of the others.

    Args:
        seeds: for each of two prompts a kind.
    """
    columns = {"tracks": _of_tracks(checkpoint, seeds), "clips of the corpus": _of_corpus(runs)}
    print("| kind | tags | " + " | ".join(columns) + " |\n|---|---|" + "---|" * len(columns))
    for kind, tags in TAGS.items():
        areas = [f"{_area(heard, kind):.2f}" for heard in columns.values()]
        print(f"| {kind} | {', '.join(tags)} | {' | '.join(areas)} |")


def _area(heard: Heard, kind: str) -> float:
    columns = [musicnn.TAGS[NETWORK].index(tag) for tag in TAGS[kind]]
    rows = [(each == kind, found[columns].sum()) for each, tracks in heard.items() for found in tracks]
    return float(roc_auc_score(*zip(*rows, strict=True)))


def _of_tracks(checkpoint: Path, seeds: int) -> Heard:
    starter = load_starter("ace_step", checkpoint, "cpu")
    rate = starter.model.sample_rate
    return {
        kind: [
            _probabilities(starter.generate(Text(prompt), SECONDS, seed), rate)
            for prompt in prompts
            for seed in range(seeds)
        ]
        for kind, prompts in PROMPTS.items()
    }


def _of_corpus(runs: Path) -> Heard:
    heard: Heard = {kind: [] for kind in TAGS}
    for audio, records in Shards(runs / "music"):
        for clip, record in zip(audio, records, strict=True):
            tracks = heard.get(record.get("style", ""))
            if tracks is not None and len(tracks) < CLIPS:
                tracks.append(_probabilities(np.asarray(clip[: round(SECONDS * RATE)], np.float32) / 32768, RATE))
    return heard


def _probabilities(audio: np.ndarray, rate: int) -> np.ndarray:
    """The mean probability of each tag over mono audio `[samples]`."""
    resampled = soxr.resample(audio, rate, musicnn.RATE).astype(np.float32)
    return musicnn.load(NETWORK).hear(resampled).probabilities.mean(0)
