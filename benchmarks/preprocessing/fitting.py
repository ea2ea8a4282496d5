"""The fit of the weights that tempo and key are chosen by, to songs whose tempo and key are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp

from preprocessing import downbeat, features, musical_key, tempo
from preprocessing.features import CQT_FRAME_RATE, Features
from preprocessing.novelty import enhance

from .scores import Truth, read_songs
from .songs import BAR_TOLERANCE, FITTED_SONGS, RATE, TEMPO_TOLERANCE, Known, bar_error, pool, rendered

Array = NDArray[np.float64]

EXCERPT_SECONDS = 15.0
RIDGES = {"tempo": 0.002, "musical_key": 0.001, "downbeat": 0.01}
"""Penalty of the squared weights, by module of `preprocessing`."""
FOLDS = 5


@dataclass(frozen=True)
class Case:
    """A choice to be learned.

    Attributes:
        song: cases of one song, or of one tune, are left out together.
        evidence: (alternatives, features)
        right: (alternatives,)
        excerpt: whether it is of a part of the song.
    """

    song: str
    evidence: Array
    right: NDArray[np.bool_]
    excerpt: bool


Cases = dict[str, list[Case]]
"""By module of `preprocessing`."""


def fit(folder: str) -> None:
    """Print the weights fitted to the synthesiser's songs and to the rendered scores in `folder`."""
    jobs: list[tuple[Callable[..., Cases], tuple[object, ...]]] = [(_synthesised, (seed,)) for seed in FITTED_SONGS]
    jobs += [(_of_score, one) for one in read_songs(Path(folder), held_out=False)]
    with pool() as workers:
        found = [job.result() for job in [workers.submit(function, *given) for function, given in jobs]]
    for name, ridge in RIDGES.items():
        print_fit(name, list(chain.from_iterable(cases[name] for cases in found)), ridge)


def print_fit(name: str, cases: Sequence[Case], ridge: float) -> None:
    """Fit, calibrate by folds that were left out, and print."""
    left_out = _left_out_scores(cases, ridge)
    temperature = _temperature(cases, left_out)
    weights = logit(cases, ridge) * temperature
    print(f"{name}.WEIGHTS = {np.round(weights, 2).tolist()}")
    right = [case.right[scores.argmax()] for case, scores in zip(cases, left_out, strict=True)]
    for label, excerpt in (("whole songs", False), ("excerpts", True)):
        chosen = [one for one, case in zip(right, cases, strict=True) if case.excerpt == excerpt]
        print(f"  left out: {np.mean(chosen):.1%} of {len(chosen)} {label} right; weights times {temperature:.2f}")


def cases_of(song: str, found: Features, known: Known, start: float) -> Cases:
    """The cases of a song, and of an excerpt of 15 s from `start` seconds."""
    cut = round(start * CQT_FRAME_RATE) / CQT_FRAME_RATE
    parts = ((found, known, False), (_excerpt(found, cut), replace(known, first_bar=known.first_bar - cut), True))
    made: Cases = {name: [] for name in RIDGES}
    for part, truth, excerpt in parts:
        tempos, columns = tempo.evidence(part)
        right = np.abs(tempos / truth.bpm - 1) <= TEMPO_TOLERANCE
        made["tempo"].append(Case(song, columns, right, excerpt))
        right = np.array([key == truth.key for key in musical_key.KEYS])
        made["musical_key"].append(Case(song, musical_key.evidence(part), right, excerpt))
        bpm = tempo.refine(enhance(part.onset_envelopes)[2], truth.bpm)
        phases, columns = downbeat.evidence(part, bpm, truth.beats_per_bar)
        right = bar_error(phases - truth.first_bar, truth.bar_seconds) <= BAR_TOLERANCE
        made["downbeat"].append(Case(song, columns, right, excerpt))
    return {name: [case for case in cases if case.right.any()] for name, cases in made.items()}


def logit(cases: Sequence[Case], ridge: float) -> Array:
    """Maximum-likelihood weights of a conditional logit, with a ridge penalty."""
    scale = np.concatenate([case.evidence for case in cases]).std(axis=0) + 1e-9
    scaled = np.concatenate([case.evidence for case in cases]) / scale
    right = np.concatenate([case.right for case in cases])
    counts = [len(case.right) for case in cases]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    owner = np.repeat(np.arange(len(cases)), counts)

    def loss(weights: Array) -> tuple[float, Array]:
        sums = scaled @ weights
        likely = np.exp(sums - np.maximum.reduceat(sums, starts)[owner])
        of_all = np.add.reduceat(likely, starts)
        of_right = np.maximum(np.add.reduceat(likely * right, starts), 1e-12)
        slope = (likely / of_all[owner] - likely * right / of_right[owner]) @ scaled
        total = -np.log(of_right / of_all).sum()
        return float(total / len(cases) + ridge * weights @ weights), slope / len(cases) + 2 * ridge * weights

    return np.asarray(minimize(loss, np.zeros(len(scale)), jac=True, method="L-BFGS-B").x / scale)


def _left_out_scores(cases: Sequence[Case], ridge: float) -> list[Array]:
    """The weighted sums of each case, by weights that were fitted without its song."""
    folds = {song: number % FOLDS for number, song in enumerate(sorted({case.song for case in cases}))}
    weights = [logit([case for case in cases if folds[case.song] != fold], ridge) for fold in range(FOLDS)]
    return [case.evidence @ weights[folds[case.song]] for case in cases]


def _temperature(cases: Sequence[Case], scores: Sequence[Array]) -> float:
    """The factor of the sums that makes the right alternatives of whole songs most likely (arXiv 1706.04599)."""
    whole = [(case.right, one) for case, one in zip(cases, scores, strict=True) if not case.excerpt]

    def loss(factor: float) -> float:
        return -float(sum(logsumexp(factor * one[right]) - logsumexp(factor * one) for right, one in whole))

    return float(minimize_scalar(loss, bounds=(0.2, 5), method="bounded").x)


def _excerpt(found: Features, start: float) -> Features:
    """EXCERPT_SECONDS of the features from `start`, at a constant-Q frame."""
    hop = features.CQT_HOP // features.ONSET_HOP
    first, frames = round(start * CQT_FRAME_RATE), round(EXCERPT_SECONDS * CQT_FRAME_RATE)
    return replace(
        found,
        onset_envelopes=found.onset_envelopes[:, hop * first : hop * (first + frames)],
        cqt=found.cqt[:, first : first + frames],
        first_sound=0.0,
    )


def _synthesised(seed: int) -> Cases:
    song, samples = rendered(seed)
    mono = soxr.resample(samples.mean(axis=1), RATE, features.RATE)
    known = Known(song.bpm, song.key, song.beats_per_bar, song.bar_seconds, 0.0)
    return cases_of(f"song {seed}", features.extract(mono), known, 15 + (seed * 1.37) % 20)


def _of_score(path: Path, truth: Truth) -> Cases:
    samples, _ = soundfile.read(path, dtype="float32")
    known = Known(truth.bpm, truth.key, truth.beats_per_bar, truth.bar_seconds, truth.first_bar)
    return cases_of(truth.piece, features.extract(samples), known, 3 + int(path.stem) % 3)
