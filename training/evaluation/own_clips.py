"""Clips of the producer's own songs, to listen to beside the pieces that the model plays with and without the twin."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.base import Model
from models.loudness import normalise
from preprocessing.dataset import Clip, Dataset
from preprocessing.segment import resampled
from training.evaluation.report import Report

_MAX_CLIPS = 3
# Of a whole file the clip begins no later, so that hours of music are not decoded for it.
_MAX_START_SECONDS = 60.0


def store_own_clips(report: Report, dataset: Dataset, held_out: Set[int], model: Model, seconds: float) -> None:
    """Store a clip of each of the first songs, held-out ones first, and name them in the report's `own_clips`.

    The compared pieces are played from captions of the same songs.

    Args:
        held_out: indices of the held-out songs.
        seconds: the longest a clip may be.
    """
    chosen: dict[int, Clip] = {}
    for clip in sorted(dataset.clips, key=lambda clip: clip.song not in held_out):
        chosen.setdefault(clip.song, clip)
    stored: list[dict[str, Any]] = []
    for number, clip in enumerate(list(chosen.values())[:_MAX_CLIPS]):
        audio = normalise(_middle(clip, model.sample_rate, model.channels, seconds))
        name = report.store_audio(f"own_{number}", audio, model.sample_rate, with_spectrogram=True)
        stored.append({"name": name, "song": clip.song, "prompt": clip.caption.text})
    report.set(own_clips=stored)


def _middle(clip: Clip, rate: int, channels: int, seconds: float) -> NDArray[np.float32]:
    """The middle of a clip, `[channels, samples]` of at most `seconds` seconds."""
    skipped = round(min(max(0.0, (clip.seconds - seconds) / 2), _MAX_START_SECONDS) * rate)
    wanted = round(seconds * rate)
    blocks: list[NDArray[np.float32]] = []
    for block in resampled(clip.path, rate, channels):
        kept = block[skipped:][:wanted]
        skipped -= min(skipped, len(block))
        wanted -= len(kept)
        blocks.append(kept)
        if not wanted:
            break
    return np.ascontiguousarray(np.concatenate(blocks).T)
