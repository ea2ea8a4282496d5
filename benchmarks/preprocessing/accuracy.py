"""Accuracy of tempo, key and bars: on the synthesiser's songs, and on rendered scores that were not fitted on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from preprocessing.analysis import analyse

from .scores import Truth, read_songs
from .songs import BAR_TOLERANCE, RATE, TEMPO_TOLERANCE, Known, bar_error, pool, rendered

Array = NDArray[np.float64]

OCTAVES = (1, 2, 0.5)


@dataclass(frozen=True)
class Estimate:
    """The estimates of a song and its true values; the first bar is estimated at the true tempo."""

    label: str
    bpm: float
    bpm_confidence: float
    alternative: float | None
    key: str
    key_confidence: float
    true_bpm: float
    true_key: str
    bar_error: float
    beat: float

    def is_tempo(self, bpm: float | None, factors: Sequence[float] = (1,)) -> bool:
        return any(abs((bpm or 0) / (self.true_bpm * factor) - 1) <= TEMPO_TOLERANCE for factor in factors)

    @property
    def octaves(self) -> list[float]:
        """The quarters' tempo, its double and half; in compound time also the beat's, which is a dotted quarter."""
        return [octave / unit for octave in OCTAVES for unit in {1.0, self.beat}]


def analysis(first: int, songs: int) -> None:
    """The synthesiser's songs, which begin with a bar."""
    with pool() as workers:
        found = list(workers.map(_of_synthesiser, range(first, first + songs)))
    for one in found:
        print(
            f"{one.label:21} {one.true_bpm:4.0f} {one.bpm:7.2f} ({one.bpm_confidence:.2f})  "
            f"{one.true_key:9} {one.key:9} ({one.key_confidence:.2f})"
        )
    _print_shares("all", found)
    _print_reliability(found)


def scores(folder: str) -> None:
    """The rendered scores in `folder` whose tunes were not fitted on."""
    songs = list(read_songs(Path(folder), held_out=True))
    with pool() as workers:
        found = list(workers.map(_of_score, *zip(*songs, strict=True)))
    truths = [truth for _, truth in songs]
    _print_shares("all", found)
    groups = {
        "bars of 2 or 4 beats": [truth.bar in (2, 4) for truth in truths],
        "bars of 3, 6/8, 9/8": [truth.bar not in (2, 4) for truth in truths],
        "with drums": [truth.drums for truth in truths],
        "without drums": [not truth.drums for truth in truths],
        "60 to 200 bpm": [truth.spread for truth in truths],
        "the ensemble's tempos": [not truth.spread for truth in truths],
    }
    for label, belongs in groups.items():
        _print_shares(label, [one for one, belonging in zip(found, belongs, strict=True) if belonging])
    _print_reliability(found)


def _of_synthesiser(seed: int) -> Estimate:
    song, samples = rendered(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "song.flac"
        soundfile.write(path, samples, RATE)
        label = f"{song.genre:14} {'drums' if song.drums else '-':6}"
        return _estimate(path, label, Known(song.bpm, song.key, song.beats_per_bar, song.bar_seconds, 0.0))


def _of_score(path: Path, truth: Truth) -> Estimate:
    known = Known(truth.bpm, truth.key, truth.beats_per_bar, truth.bar_seconds, truth.first_bar, truth.beat)
    return _estimate(path, path.stem, known)


def _estimate(path: Path, label: str, known: Known) -> Estimate:
    found = analyse(path, known.beats_per_bar, known.bpm)
    record = found.record()
    first = found.bars.first if found.bars else known.first_bar + known.bar_seconds / 2
    return Estimate(
        label,
        record["bpm"] or 0.0,
        record["bpm_confidence"] or 0.0,
        record["bpm_alternative"],
        record["key"] or "-",
        record["key_confidence"] or 0.0,
        known.bpm,
        known.key,
        float(bar_error(np.array(first - known.first_bar), known.bar_seconds)),
        known.beat,
    )


def _print_shares(label: str, found: Sequence[Estimate]) -> None:
    print(
        f"{label:22} {len(found):4} songs: bpm right {_share(one.is_tempo(one.bpm) for one in found)}, "
        f"or its alternative {_share(one.is_tempo(one.bpm) or one.is_tempo(one.alternative) for one in found)}, "
        f"octaves folded {_share(one.is_tempo(one.bpm, one.octaves) for one in found)}; "
        f"key {_share(one.key == one.true_key for one in found)}; "
        f"first bar {_share(one.bar_error <= BAR_TOLERANCE for one in found)}"
    )


def _print_reliability(found: Sequence[Estimate]) -> None:
    """Mean confidence and share of right answers in each fifth of the songs, by confidence; and the AUC."""
    for label, right, confidence in (
        ("bpm", [one.is_tempo(one.bpm) for one in found], [one.bpm_confidence for one in found]),
        ("key", [one.key == one.true_key for one in found], [one.key_confidence for one in found]),
    ):
        is_right, sure = np.array(right), np.array(confidence)
        fifths = np.array_split(np.argsort(sure), 5)
        told = ", ".join(f"{sure[fifth].mean():.2f} / {is_right[fifth].mean():.2f}" for fifth in fifths)
        print(f"{label} confidence / right, by fifths: {told}; AUC {_auc(is_right, sure):.2f}")


def _share(right: Iterable[bool]) -> str:
    return f"{np.mean(list(right)):.3f}"


def _auc(right: NDArray[np.bool_], confidence: Array) -> float:
    """The area under the ROC curve of the confidence; NaN if all answers are right, or all wrong."""
    if right.all() or not right.any():
        return float("nan")
    yes, no = confidence[right][:, None], confidence[~right]
    return float((yes > no).mean() + (yes == no).mean() / 2)
