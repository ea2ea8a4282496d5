"""Analysis of a song: levels, flaws, tempo, key, bars and fingerprint."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from preprocessing import features
from preprocessing.conditional_logit import MIN_CONFIDENCE
from preprocessing.decode import blocks, probe
from preprocessing.decoders import Samples
from preprocessing.downbeat import first_downbeat
from preprocessing.fingerprint import Fingerprint, fingerprint
from preprocessing.flaws import NO_FLAWS, FlawMeter, Flaws
from preprocessing.levels import SILENCE, LevelMeter, Levels
from preprocessing.musical_key import KeyEstimate, estimate_key
from preprocessing.novelty import enhance
from preprocessing.segment import mix
from preprocessing.tempo import Tempo, estimate_tempo, refine

# For tempo, key and fingerprint; it bounds the memory, and nearly every song is shorter.
MAX_ANALYSED_SECONDS = 360
MIN_ANALYSED_SECONDS = 3.0


@dataclass(frozen=True)
class Bars:
    """The bars of a song in a steady tempo.

    Attributes:
        first: when the first bar begins, in seconds.
        seconds: length of a bar.
    """

    first: float
    seconds: float


@dataclass(frozen=True)
class Analysis:
    """The measurements of one song.

    Attributes:
        levels: of the samples as they are in the file.
        flaws: found in those samples; everything below is estimated after their repair.
        tempo, key, bars: None where there is none.
        fingerprint: see preprocessing.fingerprint; None for silence and for very short files.
    """

    levels: Levels
    flaws: Flaws = NO_FLAWS
    tempo: Tempo | None = None
    key: KeyEstimate | None = None
    bars: Bars | None = None
    fingerprint: Fingerprint | None = None

    @property
    def unfingerprinted(self) -> float:
        """Seconds of the song after those that its fingerprint covers."""
        return max(0.0, self.levels.seconds - MAX_ANALYSED_SECONDS)

    def record(self) -> dict[str, Any]:
        """The `analysis` of a file in the dataset's record, and its warnings."""
        tempo, key, bars = self.tempo, self.key, self.bars
        alternative = tempo.alternative if tempo else None
        return {
            "bpm": tempo.rounded if tempo else None,
            "bpm_confidence": round(tempo.confidence, 3) if tempo else None,
            "bpm_alternative": alternative.rounded if alternative else None,
            "bpm_alternative_confidence": round(alternative.confidence, 3) if alternative else None,
            "key": key.key if key else None,
            "key_confidence": round(key.confidence, 3) if key else None,
            "first_bar": round(bars.first, 3) if bars else None,
            "bar_seconds": round(bars.seconds, 4) if bars else None,
            **asdict(self.levels),
            "warnings": list(self.flaws.warnings()),
        }


def analyse(path: Path, beats_per_bar: int = 4, bpm: float | None = None) -> Analysis:
    """Decode and analyse a whole file.

    Args:
        beats_per_bar: of the metre that the client states.
        bpm: the tempo that the client states, which the bars follow; it does not change the estimated tempo.

    Raises:
        BadAudio: at the first fault in the file.
    """
    info = probe(path)
    meter = LevelMeter(info.sample_rate, info.channels)
    flaw_meter = FlawMeter(info.channels)
    excerpt = _Excerpt(info.sample_rate)
    for block in blocks(path):
        meter.add(block)
        flaw_meter.add(block)
        excerpt.add(block)
    levels, flaws = meter.levels(), flaw_meter.flaws()
    if flaws:
        excerpt = _Excerpt(info.sample_rate)
        for block in blocks(path):
            excerpt.add(flaws.repair(block))
    samples = excerpt.samples()
    if len(samples) < MIN_ANALYSED_SECONDS * features.RATE or max(samples.max(), -samples.min()) < SILENCE:
        return Analysis(levels, flaws)
    found = features.extract(samples)
    tempo = estimate_tempo(found)
    bars = _bars(found, tempo, beats_per_bar, bpm)
    return Analysis(levels, flaws, tempo, estimate_key(found), bars, fingerprint(samples))


def _bars(found: features.Features, tempo: Tempo | None, beats_per_bar: int, bpm: float | None) -> Bars | None:
    """The bars at the client's tempo, else at the estimated one if its confidence suffices."""
    if bpm is not None:
        exact = refine(enhance(found.onset_envelopes)[2], bpm)
    elif tempo and tempo.confidence >= MIN_CONFIDENCE:
        exact = tempo.bpm
    else:
        return None
    return Bars(first_downbeat(found, exact, beats_per_bar), beats_per_bar * 60 / exact)


class _Excerpt:
    """The beginning of a song, mixed to mono and resampled to features.RATE while it streams."""

    def __init__(self, rate: int) -> None:
        self._stream = soxr.ResampleStream(rate, features.RATE, 1, dtype="float32")
        self._kept = np.empty(MAX_ANALYSED_SECONDS * features.RATE, np.float32)
        self._length = 0

    def add(self, block: Samples, last: bool = False) -> None:
        if self._length < len(self._kept):
            mono = self._stream.resample_chunk(np.ascontiguousarray(mix(block, 1)), last)[:, 0]
            part = self._kept[self._length : self._length + len(mono)]
            part[:] = mono[: len(part)]
            self._length += len(part)

    def samples(self) -> Samples:
        """(frames,)"""
        self.add(np.empty((0, 1), np.float32), last=True)
        return self._kept[: self._length]
