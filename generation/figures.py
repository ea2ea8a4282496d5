"""The figures of a track: what is heard in its file, beside what was asked for. They are measured in the sandbox."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from contract import Figures, NearestSegment
from core.gate import Gate
from core.notation import pitch
from core.sandbox import Limits, Sandbox
from core.temporary import TemporaryFolder
from preprocessing.decode import blocks, probe
from preprocessing.isolation import ANALYSIS

if TYPE_CHECKING:
    from preprocessing.analysis import Analysis
    from preprocessing.fingerprint import Fingerprint

log = logging.getLogger("producer_twin.front")

# A track of ten minutes takes some seconds. Serving has priority over figures.
_LIMITS = Limits(memory=2 * 2**30, cpu_seconds=120, seconds=300, niceness=5)
_GATE = Gate(at_once=2, each=2)


def load_listening() -> None:
    """Import what compares a track with a twin's music: torch, which the analysis does without, and the network."""
    from preprocessing.tagger.musicnn import load
    from training.evaluation import own_music  # noqa: F401

    load("msd")


_LISTENING = Sandbox("generation.figures:load_listening")


@dataclass(frozen=True)
class Goal:
    """What a track is compared with.

    Attributes:
        bpm: the tempo asked for; None if there is none.
        key: the key asked for; None if there is none.
        own_music: the file of the twin's music; see `training.evaluation.own_music`. None if there is none.
        training_segments: the file of the segments that the twin was trained on; see `preprocessing.memorised`.
    """

    bpm: float | None = None
    key: str | None = None
    own_music: bytes | None = None
    training_segments: bytes | None = None


def prepare(goal: Goal) -> None:
    """Start the processes that measure, so that they are ready when the track is made."""
    ANALYSIS.start()
    if goal.own_music:
        _LISTENING.start()


async def measure(file: bytes, extension: str, goal: Goal) -> Figures | None:
    """The figures of an encoded track; None if they cannot be measured, which the log explains."""
    with TemporaryFolder("figures") as folder:
        path = folder / f"track.{extension}"
        async with _GATE.slot():
            try:
                await asyncio.to_thread(path.write_bytes, file)
                figures, fingerprint = await ANALYSIS.run(_LIMITS, analysed, path, goal)
            except Exception as reason:  # noqa: BLE001 - for any reason, the track is answered without figures
                log.warning("a track has no figures: %s", reason)
                return None
            if goal.training_segments and fingerprint is not None:
                try:
                    nearest = await ANALYSIS.run(_LIMITS, nearest_segment, fingerprint, goal.training_segments)
                    figures = figures.model_copy(update={"nearest_segment": nearest})
                except Exception as reason:  # noqa: BLE001 - the other figures are known
                    log.warning("the training segment that is nearest to a track is not known: %s", reason)
            if goal.own_music:
                try:
                    distance = await _LISTENING.run(_LIMITS, twin_distance, path, goal.own_music)
                    figures = figures.model_copy(update={"twin_distance": distance})
                except Exception as reason:  # noqa: BLE001 - the other figures are known
                    log.warning("a track's distance from its twin's music is not known: %s", reason)
            return figures


def analysed(path: Path, goal: Goal) -> tuple[Figures, Fingerprint | None]:
    """The figures of an audio file, but for those that need the twin's music, and its fingerprint."""
    from preprocessing.analysis import analyse

    found = analyse(path)
    return figures_of(found, goal), found.fingerprint


def nearest_segment(fingerprint: Fingerprint, training_segments: bytes) -> NearestSegment | None:
    """The training segment that a track repeats most; None if it cannot be told."""
    from preprocessing.memorised import TrainingSegments

    nearest = TrainingSegments.read(training_segments).nearest(fingerprint)
    if nearest is None:
        return None
    return NearestSegment(segment=nearest.segment, similarity=round(nearest.similarity, 3), memorised=nearest.memorised)


def figures_of(found: Analysis, goal: Goal) -> Figures:
    """The figures of an analysed track, but for those that need the twin's music."""
    tempo, key, levels = found.tempo, found.key, found.levels
    return Figures(
        bpm=round(tempo.bpm, 2) if tempo else None,
        bpm_confidence=round(tempo.confidence, 3) if tempo else None,
        bpm_off=round(abs(tempo.bpm / goal.bpm - 1), 4) if tempo and goal.bpm else None,
        key=key.key if key else None,
        key_confidence=round(key.confidence, 3) if key else None,
        key_matches=_same_key(key.key, goal.key) if key and goal.key else None,
        loudness=levels.loudness,
        peak=levels.peak,
        clipped=levels.clipped,
        twin_distance=None,
        nearest_segment=None,
    )


def twin_distance(path: Path, own_music: bytes) -> float:
    """The distance of an audio file from a twin's music. It needs torch."""
    from training.evaluation import own_music as music

    mono = np.concatenate([block.mean(axis=1) for block in blocks(path)])
    return round(music.distance(music.read(own_music), mono, probe(path).sample_rate), 4)


def _same_key(heard: str, asked: str) -> bool:
    """Whether two keys such as "Bb minor" and "A# minor" are one."""
    (note, mode), (other_note, other_mode) = heard.split(), asked.split()
    return pitch(note) == pitch(other_note) and mode == other_mode
