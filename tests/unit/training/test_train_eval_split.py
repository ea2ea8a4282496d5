"""The split of a job's music, and the measurements of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contract import TrainRequest
from models.ace_step import AceStep
from models.base import Row, Text
from preprocessing.captions import Caption
from preprocessing.dataset import Clip, Dataset
from recipes.synthesiser import render, sample_song
from storage import Storage
from tests.sounds import written
from tests.unit.preprocessing.helpers import make, tone
from training.evaluation import reference
from training.evaluation.extent import extent_of
from training.evaluation.pieces import play_pieces, write_pieces
from training.evaluation.report import Report
from training.examples import Examples
from training.jobs.store import Jobs
from training.train_eval_split import Subset, TrainEvalSplit, split_dataset


def _report(store: Storage) -> Report:
    record = Jobs(store).create(TrainRequest(producer_id="ada", upload_paths=["/data/x"]), "ace_step")
    return Report(store, record, "tiny", "0" * 64)


def test_a_measurement_that_fails_is_reported_and_the_music_is_trained_on(
    store: Storage, tmp_path: Path, model: AceStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("out of memory")

    (tmp_path / "a.wav").write_bytes(written(tone(4)))
    files = [{"source": "/data/uploads/ada/x/a.wav", "sha256": "0", "seconds": 4.0, "sample_rate": 48_000}]
    dataset = Dataset([Clip(tmp_path / "a.wav", Caption("music"), 4.0, 0)], {"files": files})
    report = _report(store)
    cache: Any = SimpleNamespace(folder=tmp_path, add=lambda audio, text: tmp_path / "no example")

    def split_again() -> TrainEvalSplit:
        return split_dataset(dataset, model, cache, 1.0, lambda: None, try_measuring=report.try_measuring)

    monkeypatch.setattr(model, "reconstruct", fail)
    split = split_again()
    assert len(split.train.examples) == len(split.train.excerpts) == 1 and not split.train.through_codec
    monkeypatch.setattr("training.train_eval_split.is_noise", fail)
    monkeypatch.setattr("training.train_eval_split.listen", fail)
    split = split_again()
    assert len(split.train.examples) == 1 and not split.train.excerpts and not split.noise
    reasons = report.content["unmeasured"]
    assert reasons[0] == "Not measured because of an error: an excerpt of clip 0: RuntimeError: out of memory"
    assert any("whether clip 0 is noise" in reason for reason in reasons)


@pytest.mark.slow
def test_an_excerpt_that_cannot_be_measured_is_reported(
    store: Storage, tmp_path: Path, model: AceStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    swelling = tone(31)
    swelling *= np.linspace(0.5, 1, len(swelling))[:, None]  # so that no segment has the contents of another
    store.put("uploads/p/u/one.wav", written(swelling))
    made = make(store, tmp_path, upload_paths=["/data/uploads/p/u/one.wav"])
    calls = 0

    def reconstruct(audio: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("out of memory")
        return audio

    monkeypatch.setattr(model, "reconstruct", reconstruct)
    monkeypatch.setattr(reference, "pieces", lambda *_: iter(()))
    report = _report(store)
    cache: Any = SimpleNamespace(folder=tmp_path, add=lambda audio, text: tmp_path / "no example")
    split = split_dataset(made, model, cache, 3.0, lambda: None, try_measuring=report.try_measuring)
    assert len(made.clips) == len(split.train.examples) == 3
    # Two segments and the music around two cuts; the last segment and the excerpts are too short to be compared.
    assert len(split.segments) == 4 and split.codec_similarity is None
    assert (len(split.train.excerpts), len(split.train.through_codec)) == (3, 2)
    fewer = split_dataset(made, model, cache, 3.0, lambda: None, max_through_codec=2)
    assert (len(fewer.train.excerpts), len(fewer.train.through_codec)) == (3, 2)
    assert report.content["unmeasured"] == [
        "Not measured because of an error: an excerpt of clip 1: RuntimeError: out of memory"
    ]


@pytest.mark.slow
def test_the_segments_after_the_codec_are_compared_with_themselves(
    store: Storage, tmp_path: Path, model: AceStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    song = render(sample_song(np.random.default_rng(1), "lofi"), 20, 44_100, 2).T
    store.put("uploads/p/u/one.wav", written(song, rate=44_100))
    made = make(store, tmp_path, upload_paths=["/data/uploads/p/u/one.wav"])
    monkeypatch.setattr(reference, "pieces", lambda *_: iter(()))

    def similarity(name: str, codec: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> float:
        (tmp_path / name).mkdir()
        cache: Any = SimpleNamespace(folder=tmp_path / name, add=lambda audio, text: tmp_path / "no example")
        monkeypatch.setattr(model, "reconstruct", codec)
        split = split_dataset(made, model, cache, 6.0, lambda: None)
        assert split.codec_similarity is not None
        monkeypatch.setattr(model, "reconstruct", lambda audio: pytest.fail("it is made once for its contents"))
        again = split_dataset(made, model, cache, 6.0, lambda: None)
        assert again.codec_similarity == split.codec_similarity
        return split.codec_similarity

    noise = np.random.default_rng(2).normal(0, 0.1, (2, 6 * 48_000)).astype(np.float32)
    assert similarity("quieter", lambda audio: 0.5 * audio) > 0.8 > 0.5 > similarity("noise", lambda audio: noise)


def test_the_pieces_of_the_verdict_are_at_the_tempo_that_the_twin_plays_at(store: Storage) -> None:
    played: list[int | None] = []

    def generate(rows: Sequence[Row]) -> list[NDArray[np.float32]]:
        played.extend(row.text.bpm for row in rows)
        return [np.zeros((2, 4_000), np.float32) for _ in rows]

    def subset(*texts: Text) -> Subset:
        return Subset(Examples([]), list(range(len(texts))), list(texts), [], [])

    train = subset(Text("techno", bpm=120), Text("house", bpm=140), Text("trance", bpm=120))
    split = TrainEvalSplit(train, subset(), subset(), 60.0, False, {})
    session: Any = SimpleNamespace(as_served=nullcontext)
    model: Any = SimpleNamespace(sample_rate=8_000, generate=generate)

    def compare(steps: int) -> Report:
        report = _report(store)
        pieces = play_pieces(session, model, split, 0.5, extent_of(steps), {}, lambda: None)
        assert pieces.heard is None
        write_pieces(pieces, model.sample_rate, split, report)
        return report

    compare(5)
    # The three captions and the prompt that states no tempo, without and with the twin.
    assert played == [120, 140, 120, 120] * 2
    assert len(compare(4).content["comparisons"]) == 2
    assert played[8:] == [120, 120] * 2
    assert len(compare(200).content["comparisons"]) == 4
    assert len(played) == 12 + 2 * 16
