"""Accuracy of tempo and key on the synthesiser's songs, against their true values; and the fit of the weights."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import softmax

from preprocessing import features, musical_key, tempo
from preprocessing.analysis import analyse
from recipes.synthesiser import GENRES, render, sample_song

Array = NDArray[np.float64]

RATE = 44_100
TEST_SONGS, TRAINING_SONGS = range(40), range(100_000, 100_160)
EXCERPT_SECONDS = 15.0
RIDGE = 0.003


def _render(seed: int) -> tuple[Any, NDArray[np.float32]]:
    """60 s of song `seed`, (frames, 2): genres in turn, eight songs with drums, eight without, and so on."""

    song = sample_song(np.random.default_rng(seed), GENRES[seed % 8], drums=seed // 8 % 2 == 0)
    return song, render(song, 60, RATE, 2).T


def _measure(seed: int) -> dict[str, Any]:

    song, samples = _render(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "song.flac"
        soundfile.write(path, samples, RATE)
        found = analyse(path).record()
    folds = [factor for factor in (1, 2, 0.5, 3, 1 / 3) if abs((found["bpm"] or 0) / (song.bpm * factor) - 1) <= 0.04]
    return found | {"song": song, "fold": folds[0] if folds else None, "right_key": found["key"] == song.key}


def analysis(first: int, songs: int) -> None:
    with _pool() as pool:
        found = list(pool.map(_measure, range(first, first + songs)))
    for one in found:
        song = one["song"]
        print(
            f"{song.genre:14} {'drums' if song.drums else '-':6} {song.bpm:4} {one['bpm'] or 0:7.2f} "
            f"({one['bpm_confidence'] or 0:.2f})  {song.key:9} {one['key']:9} ({one['key_confidence']:.2f})"
        )
    right = np.array([one["fold"] == 1 for one in found])
    octaves = np.array([one["fold"] in (2, 0.5, 3, 1 / 3) for one in found])
    keys = np.array([one["right_key"] for one in found])
    sure = np.array([[one["bpm_confidence"] or 0, one["key_confidence"] or 0] for one in found])
    print(f"bpm within 4 %: {right.mean():.1%}; a double, half or triple of it: {octaves.mean():.1%}")
    print(f"key exactly right: {keys.mean():.1%}")
    print(f"confidence, AUC: bpm {_auc(right, sure[:, 0]):.3f} ({np.count_nonzero(~right)} wrong), ", end="")
    print(f"key {_auc(keys, sure[:, 1]):.3f} ({np.count_nonzero(~keys)} wrong), ", end="")
    print(f"both {_auc(np.concatenate([right, keys]), np.concatenate([sure[:, 0], sure[:, 1]])):.3f}")


def _auc(right: NDArray[np.bool_], confidence: Array) -> float:
    """The area under the ROC curve of the confidence; NaN if all answers are right, or all wrong."""
    if right.all() or not right.any():
        return float("nan")
    yes, no = confidence[right][:, None], confidence[~right]
    return float((yes > no).mean() + (yes == no).mean() / 2)


Case = tuple[Array, NDArray[np.bool_]]  # the evidence of each alternative, and which alternatives are right


def _cases(seed: int) -> list[tuple[Case, Case]]:
    """The tempo and key cases of a song: of the whole song, and of an excerpt of 15 s."""

    song, samples = _render(seed)
    mono = soxr.resample(samples.mean(axis=1), RATE, features.RATE)
    start = 15 + (seed * 1.37) % 20
    cases = []
    for part in (mono, mono[round(start * features.RATE) :][: round(EXCERPT_SECONDS * features.RATE)]):
        found = features.extract(part)
        tempos, evidence = tempo.evidence(tempo.enhance(found.onset_envelopes))
        keys = np.array([key == song.key for key in musical_key.KEYS])
        cases.append(((evidence, np.abs(tempos / song.bpm - 1) <= 0.04), (musical_key.evidence(found), keys)))
    return cases


def fit() -> None:
    with _pool() as pool:
        cases = [case for cases in pool.map(_cases, TRAINING_SONGS) for case in cases]
    for name, index in (("tempo", 0), ("musical_key", 1)):
        weights = _logit([case[index] for case in cases])
        chosen = [(right[(evidence @ weights).argmax()]) for evidence, right in (case[index] for case in cases)]
        print(f"{name}.WEIGHTS = {np.round(weights, 2).tolist()}")
        print(f"  right: {np.mean(chosen[::2]):.1%} of the songs, {np.mean(chosen[1::2]):.1%} of the excerpts")


def _logit(cases: list[Case]) -> Array:
    """Maximum-likelihood weights of a conditional logit, with a ridge penalty."""

    cases = [case for case in cases if case[1].any()]
    scale = np.concatenate([evidence for evidence, _ in cases]).std(axis=0)

    def loss(weights: Array) -> tuple[float, Array]:
        total, slope = 0.0, np.zeros(len(weights))
        for evidence, right in cases:
            scaled = evidence / scale
            among_all = softmax(scaled @ weights)
            total -= np.log(among_all[right].sum())
            slope += among_all @ scaled - among_all[right] / among_all[right].sum() @ scaled[right]
        return float(total / len(cases) + RIDGE * weights @ weights), slope / len(cases) + 2 * RIDGE * weights

    return np.asarray(minimize(loss, np.zeros(len(scale)), jac=True).x / scale)


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(min(2, os.cpu_count() or 1), mp_context=get_context("spawn"))
