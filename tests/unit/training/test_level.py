"""Songs are trained on at one loudness, and keep their own dynamics."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.ace_step import AceStep
from models.base import Text
from models.traits import Traits
from preprocessing.dataset import Dataset, restore
from preprocessing.levels import true_peak
from storage import Storage, keys
from tests.sounds import RATE, written
from tests.unit.preprocessing.helpers import levels, make, tone
from training.train_eval_split import split_dataset


class _Cache:
    """Keeps the audio of the examples in place of their tensors."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.audio: list[NDArray[np.float32]] = []

    def add(self, audio: NDArray[np.float32], text: Text) -> Path:
        self.audio.append(audio)
        return Path("none")


def _trained_on(made: Dataset, model: AceStep, folder: Path) -> list[NDArray[np.float32]]:
    """The audio of each clip in training, (frames, channels)."""
    cache: Any = _Cache(folder)
    split_dataset(made, model, cache, excerpt_seconds=1.0, check_stop=lambda: None)
    return [audio.T for audio in cache.audio[: len(made.clips)]]


@pytest.mark.slow
def test_songs_are_trained_on_at_one_loudness_with_their_dynamics(
    store: Storage, tmp_path: Path, model: AceStep
) -> None:
    quiet_then_loud = tone(30, level=0.3)
    quiet_then_loud[: 15 * RATE] *= 10 ** (-8 / 20)
    store.put("uploads/p/u/one.wav", written(quiet_then_loud))
    store.put("uploads/p/u/two.wav", written(tone(14, level=0.01)[::-1]))
    paths = ["/data/uploads/p/u/one.wav", "/data/uploads/p/u/two.wav"]
    traits = Traits(loudness=-20.0)
    made = make(store, tmp_path, upload_paths=paths, traits=traits)
    first, second, other = _trained_on(made, model, tmp_path)
    song = np.concatenate([first, second])
    # Measured on one channel, because both are the same.
    assert levels(song[:, :1], model.sample_rate).loudness == pytest.approx(-20, abs=0.1)
    assert levels(other[:, :1], model.sample_rate).loudness == pytest.approx(-20, abs=0.1)
    assert 20 * math.log10(second.std() / first.std()) == pytest.approx(8, abs=0.1)
    record = json.loads(store.get(keys.dataset_record("p", "j")))
    found = record["files"][0]["training_level"]
    assert found["loudness"] + found["gain"] == pytest.approx(-20, abs=0.01)
    again = restore(record, store, tmp_path / "again", traits=traits)
    assert [clip.gain for clip in again.clips] == [clip.gain for clip in made.clips]
    for part in record["segments"]:  # as those of earlier versions
        del part["gain"]
    earlier = restore(record, store, tmp_path / "earlier", traits=traits)
    assert [clip.gain for clip in earlier.clips] == [0, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("limit", [-1.0, 3.0])
def test_peaks_limit_the_gain(limit: float, store: Storage, tmp_path: Path, model: AceStep) -> None:
    song = tone(10, level=0.05)
    song[5 * RATE : 5 * RATE + 20] = 0.9
    store.put("uploads/p/u/one.wav", written(song))
    traits = Traits(max_true_peak=limit)
    made = make(store, tmp_path, upload_paths=["/data/uploads/p/u/one.wav"], traits=traits, profile="native")
    (clip,) = _trained_on(made, model, tmp_path)
    assert true_peak(clip, model.sample_rate) == pytest.approx(limit, abs=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("first", [Traits(max_true_peak=6.0), Traits(loudness=-40.0)])
def test_a_stored_dataset_has_the_gains_of_the_checkpoint_that_is_trained_on(
    first: Traits, store: Storage, tmp_path: Path
) -> None:
    song = tone(20, level=0.05)
    song[5 * RATE : 5 * RATE + 20] = 0.9
    store.put("uploads/p/u/one.wav", written(song))
    path = ["/data/uploads/p/u/one.wav"]
    made = make(store, tmp_path, "j", upload_paths=path, traits=first)
    other = make(store, tmp_path, "k", upload_paths=path)
    again = restore(made.record, store, tmp_path / "again")
    wanted = [clip.gain for clip in other.clips]
    assert [clip.gain for clip in again.clips] == pytest.approx(wanted, abs=0.011)
    assert [clip.gain for clip in made.clips] != pytest.approx(wanted, abs=1)
