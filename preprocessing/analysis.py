"""What a song is: its levels, tempo and key, each with how sure that is, and what it takes to recognise it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from preprocessing import features
from preprocessing.bars import downbeat
from preprocessing.choice import LIKELY
from preprocessing.decode import Samples, blocks, probe
from preprocessing.flaws import NO_FLAWS, FlawMeter, Flaws
from preprocessing.harmony import Harmony, harmony
from preprocessing.levels import SILENCE, Levels, Meter
from preprocessing.rhythm import Rhythm, refined, rhythm, sharpened
from preprocessing.segment import mix

# Tempo and key are those of the first six minutes, longer than nearly every song, which bounds the memory.
HEARD_SECONDS = 360
SHORTEST = 3.0  # seconds; in less there is no tempo


@dataclass(frozen=True)
class Bars:
    """The first one begins at `first`, and each is `seconds` long."""

    first: float
    seconds: float


@dataclass(frozen=True)
class Analysis:
    """`rhythm`, `harmony` and `bars` are None where there is none, and are heard without the `flaws`, which the levels
    are with. `print` is for preprocessing.duplicates."""

    levels: Levels
    flaws: Flaws = NO_FLAWS
    rhythm: Rhythm | None = None
    harmony: Harmony | None = None
    bars: Bars | None = None
    print: NDArray[np.float32] | None = None

    def record(self) -> dict[str, Any]:
        """As the dataset's record has it."""
        tempo, key, bars = self.rhythm, self.harmony, self.bars
        return {
            "bpm": round(tempo.bpm, 2) if tempo else None,
            "bpm_confidence": round(tempo.confidence, 3) if tempo else None,
            "key": key.key if key else None,
            "key_confidence": round(key.confidence, 3) if key else None,
            "first_bar": round(bars.first, 3) if bars else None,
            "bar_seconds": round(bars.seconds, 4) if bars else None,
            **asdict(self.levels),
            "warnings": list(self.flaws.warnings()),
        }


def analyse(path: Path, beats_per_bar: int = 4, bpm: float | None = None) -> Analysis:
    """Listen to a whole file. Raises BadAudio at the first thing in it that is wrong.

    `beats_per_bar`, and `bpm` if it is known, are for the bars alone.
    """
    info = probe(path)
    meter = Meter(info.sample_rate, info.channels)
    flaw_meter = FlawMeter(info.channels)
    ear = _Ear(info.sample_rate)
    for block in blocks(path):
        meter.add(block)
        flaw_meter.add(block)
        ear.add(block)
    levels, flaws = meter.levels(), flaw_meter.flaws()
    if flaws:
        ear = _Ear(info.sample_rate)
        for block in blocks(path):
            ear.add(flaws.mend(block))
    samples = ear.samples()
    if len(samples) < SHORTEST * features.RATE or max(samples.max(), -samples.min()) < SILENCE:
        return Analysis(levels, flaws)
    heard = features.hear(samples)
    tempo = rhythm(heard)
    return Analysis(levels, flaws, tempo, harmony(heard), _bars(heard, tempo, beats_per_bar, bpm), heard.print)


def _bars(heard: features.Heard, tempo: Rhythm | None, beats_per_bar: int, bpm: float | None) -> Bars | None:
    """At the tempo that the client knows, or at ours if it is rather right than wrong."""
    if bpm is not None:
        exact = refined(sharpened(heard.onsets)[2], bpm)
    elif tempo and tempo.confidence >= LIKELY:
        exact = tempo.bpm
    else:
        return None
    return Bars(downbeat(heard, exact, beats_per_bar), beats_per_bar * 60 / exact)


class _Ear:
    """Keeps the beginning of a song, mono and at hearing.RATE."""

    def __init__(self, rate: int) -> None:
        self._stream = soxr.ResampleStream(rate, features.RATE, 1, dtype="float32")
        self._kept = np.empty(HEARD_SECONDS * features.RATE, np.float32)
        self._length = 0

    def add(self, block: Samples, last: bool = False) -> None:
        if self._length < len(self._kept):
            heard = self._stream.resample_chunk(np.ascontiguousarray(mix(block, 1)), last)[:, 0]
            part = self._kept[self._length : self._length + len(heard)]
            part[:] = heard[: len(part)]
            self._length += len(part)

    def samples(self) -> Samples:
        """(frames,)"""
        self.add(np.empty((0, 1), np.float32), last=True)
        return self._kept[: self._length]
