"""Tempo, key and bars; cutting on bars; datasets restored from their record."""

from __future__ import annotations

import errno
import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from core.errors import Refusal
from models.traits import Traits
from preprocessing import dataset as datasets
from preprocessing.analysis import analyse
from preprocessing.captions import DEFAULT_TEXT, Caption, ClipInfo, caption, normalize_dataset
from preprocessing.dataset import restore
from preprocessing.segment import Grid, bar_grid, segments
from recipes.synthesiser import Song, render, sample_song
from storage import Storage, keys
from tests.sounds import RATE
from tests.unit.preprocessing.helpers import make, sine


def write(song: Song, path: Path, seconds: float = 30) -> Path:
    soundfile.write(path, render(song, seconds, RATE, 2).T, RATE)
    return path


@pytest.mark.parametrize(
    ("genre", "fixed"),
    [
        ("house", {"bpm": 124, "root": 9, "mode": "minor"}),
        ("trap", {"bpm": 141, "root": 2, "mode": "minor"}),
        ("synthwave", {"bpm": 96, "root": 0, "mode": "major", "drums": False}),
    ],
)
def test_tempo_key_and_bars_of_songs(genre: str, fixed: dict[str, Any], tmp_path: Path) -> None:
    song = sample_song(np.random.default_rng(1), genre, **{"drums": True} | fixed)
    found = analyse(write(song, tmp_path / "a.wav", 40))
    assert found.tempo
    assert found.key
    assert found.bars
    assert found.tempo.bpm == pytest.approx(song.bpm, rel=0.005)
    assert found.key.key == song.key
    assert found.bars.seconds == pytest.approx(song.bar_seconds, rel=0.005)
    away = (found.bars.first + song.bar_seconds / 2) % song.bar_seconds - song.bar_seconds / 2
    assert abs(away) < 0.05
    record = found.record()
    assert json.loads(json.dumps(record)) == record
    assert 0 < record["bpm_confidence"] <= 1
    assert 0 < record["key_confidence"] <= 1


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros((RATE * 5, 2)),
        sine(0.5),
        np.zeros((1, 1)),
        0.1 * np.random.default_rng(0).normal(size=(RATE * 6, 1)),
        np.repeat(sine(6), 8, axis=1),
        np.full((RATE * 4, 1), 0.5),
        np.eye(1, RATE * 5).T,
    ],
    ids=["silence", "short", "one sample", "noise", "a tone on eight channels", "direct current", "one click"],
)
def test_sounds_without_tempo_or_key(samples: np.ndarray, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    found = analyse(tmp_path / "a.wav")
    assert found.levels.seconds == pytest.approx(len(samples) / RATE, abs=0.001)
    assert not any(isinstance(value, float) and math.isnan(value) for value in found.record().values())


def test_grids_of_whole_bars() -> None:
    assert bar_grid(0.5, 240 / 140) == Grid(0.5, 8 * 240 / 140)
    assert bar_grid(0.0, 2.0) == Grid(0.0, 8.0)  # seven fit, four are a phrase
    assert bar_grid(0.0, 4.5) == Grid(0.0, 13.5)
    assert bar_grid(0.0, 6.0) == Grid(0.0, 12.0)
    assert bar_grid(0.0, 20.0) == Grid(0.0, 20.0)


def test_cutting_on_a_grid(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(30), RATE)
    made = list(segments(tmp_path / "a.wav", grid=Grid(1.25, 10.0001)))
    assert [round(segment.start, 3) for segment in made] == [0, 1.25, 11.25, 21.25]
    assert sum(segment.seconds for segment in made) == pytest.approx(30, abs=1e-6)
    assert [segment.dropped for segment in made] == ["short", None, None, None]


@pytest.mark.parametrize(
    ("seconds", "first", "expected"),
    [(30, 0.4, ["short", None, None, None]), (29, 4.9, ["short", None, None, "short"]), (30, 5, [None] * 4)],
)
def test_leftovers_of_a_grid_under_5_s_are_dropped(
    seconds: float, first: float, expected: list[str | None], tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.wav", sine(seconds), RATE)
    made = list(segments(tmp_path / "a.wav", grid=Grid(first, 10)))
    assert [segment.dropped for segment in made] == expected


def estimates(bpm: float | None, bpm_confidence: float | None, key: str | None, key_confidence: float | None) -> Any:
    return {"bpm": bpm, "bpm_confidence": bpm_confidence, "key": key, "key_confidence": key_confidence}


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (ClipInfo("night_140bpm_F#m.wav"), (140, "F# minor")),
        (ClipInfo("/data/uploads/p/j/dark 92 BPM - Eb minor (mix).mp3"), (92, "Eb minor")),
        (ClipInfo("https://example.com/x/C_maj-loop.wav"), (None, "C major")),
        (ClipInfo("I Am here, 2 bpm or 5000bpm, A-minority.wav"), (None, None)),
        (ClipInfo("a.wav", {}, estimates(119.96, 0.9, "G major", 0.7)), (120, "G major")),
        (ClipInfo("a.wav", {}, estimates(120, 0.4, "G major", 0.3)), (None, None)),
        (ClipInfo("a.wav", {}, estimates(None, None, None, None)), (None, None)),
        (ClipInfo("b_100bpm_Dmin.wav", {"bpm": 90}, estimates(120, 1.0, "G major", 1.0)), (90, "D minor")),
    ],
)
def test_bpm_and_key_are_the_clients_then_the_names_then_estimated(known: ClipInfo, expected: tuple[Any, Any]) -> None:
    made = caption(known)
    assert (made.bpm, made.key) == expected
    assert normalize_dataset([known, known]) == [made, made]


@pytest.fixture
def beat(store: Storage, tmp_path: Path) -> Song:
    """Stored as one.flac, and once more as two.mp3."""
    song = sample_song(np.random.default_rng(1), "house", bpm=124, root=9, mode="minor", drums=True)
    store.put_file("uploads/p/u/one.flac", write(song, tmp_path / "one.flac", 40))
    store.put_file("uploads/p/u/two.mp3", write(song, tmp_path / "two.mp3", 40))
    return song


@pytest.mark.slow
def test_a_dataset_cut_on_bars_without_its_duplicate(
    store: Storage, beat: Song, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("uploads/p/u/short.wav", (write(beat, tmp_path / "short.wav", 2.5)).read_bytes())
    paths = [f"/data/uploads/p/u/{name}" for name in ("one.flac", "two.mp3", "short.wav")]
    made = make(store, tmp_path, upload_paths=paths, segment_on="beat")
    first, second, third = made.record["files"]
    assert [file["duplicate_of"] for file in made.record["files"]] == [None, 0, None]
    assert [file["cut_on"] for file in made.record["files"]] == ["beat", "nothing", "time"]
    assert (second["segments"], "two.mp3 is left out" in caplog.text) == (0, True)
    assert first["analysis"]["bpm"] == pytest.approx(124, abs=0.1)
    bar = beat.bar_seconds
    for part in made.record["segments"]:
        if part["file"] == 0:
            away = (part["start"] + bar / 2) % bar - bar / 2
            assert abs(away) < 0.05
    assert [part["seconds"] for part in made.record["segments"] if part["file"] == 0] == pytest.approx(
        [4 * bar] * 5, abs=0.05
    )
    assert first["dropped"] == {"short": 1}  # 1.3 s after the last whole bars
    assert {clip.caption for clip in made.clips if clip.song == 0} == {Caption(DEFAULT_TEXT, 124, "A minor")}
    assert third["analysis"]["bpm"] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clock", "body", "expected"),
    [(True, {}, "beat"), (False, {}, "time"), (True, {"segment_on": "time"}, "time")],
)
def test_songs_are_cut_on_bars_by_default_for_a_model_that_keeps_a_clock(
    clock: bool, body: dict[str, Any], expected: str, store: Storage, beat: Song, tmp_path: Path
) -> None:
    made = make(store, tmp_path, traits=Traits(clock=clock), upload_paths=["/data/uploads/p/u/one.flac"], **body)
    assert made.record["files"][0]["cut_on"] == expected


@pytest.mark.slow
def test_the_clients_tempo_decides_the_bars(store: Storage, beat: Song, tmp_path: Path) -> None:
    paths = ["/data/uploads/p/u/one.flac"]
    body: dict[str, Any] = {
        "upload_paths": paths,
        "segment_on": "beat",
        "metadata_per_file": [{"bpm": 62, "key": "C major"}],
    }
    made = make(store, tmp_path, **body)
    assert made.record["files"][0]["analysis"]["bar_seconds"] == pytest.approx(2 * beat.bar_seconds, rel=0.005)
    assert {(clip.caption.bpm, clip.caption.key) for clip in made.clips} == {(62, "C major")}


@pytest.mark.slow
def test_a_dataset_comes_back_from_its_record(store: Storage, beat: Song, tmp_path: Path) -> None:
    body: dict[str, Any] = {
        "upload_paths": ["/data/uploads/p/u/one.flac"],
        "metadata_per_file": [{"title": "T", "x": None}],
    }
    made = make(store, tmp_path, **body)
    record = json.loads(store.get(keys.dataset_record("p", "j")))
    again = restore(record, store, tmp_path / "again")
    assert again.record == record
    assert [(clip.caption, clip.song) for clip in again.clips] == [(clip.caption, clip.song) for clip in made.clips]
    assert [clip.seconds for clip in again.clips] == pytest.approx([clip.seconds for clip in made.clips], abs=0.001)
    assert [hashlib.sha256(clip.path.read_bytes()).hexdigest() for clip in again.clips] == [
        part["sha256"] for part in record["segments"]
    ]
    # Texts may be written and edited by hand.
    store.put(keys.job_text("j", "seg_0001"), b"warm organ,\nsunny\n")
    edited = restore(record, store, tmp_path / "edited")
    assert [clip.caption.text for clip in edited.clips][:2] == [f"{DEFAULT_TEXT}, T", "warm organ, sunny, T"]
    store.put(keys.job_audio("j", 1), b"another")
    with pytest.raises(Refusal, match="not as it was") as refusal:
        restore(record, store, tmp_path / "changed")
    assert refusal.value.status == 409
    store.delete(keys.job_audio("j", 1))
    with pytest.raises(Refusal, match="it is gone"):
        restore(record, store, tmp_path / "gone")


def full(*_: Any, **__: Any) -> Iterator[Any]:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.slow
def test_a_full_disk_is_refused_with_507(
    store: Storage, beat: Song, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [entry.key for entry in store.list("")]
    for name in ("cut", "collect"):
        with monkeypatch.context() as patch:
            patch.setattr(datasets, name, full)
            with pytest.raises(Refusal, match="disk for temporary files is full") as refusal:
                make(store, tmp_path, name, upload_paths=["/data/uploads/p/u/one.flac"])
            assert refusal.value.status == 507
    assert [entry.key for entry in store.list("")] == before
