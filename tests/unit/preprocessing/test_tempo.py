"""Tempo: right on short sounds, told with an alternative where unsure, and the same however a song is encoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from preprocessing.analysis import Analysis, analyse
from preprocessing.musical_key import NOTES
from recipes.synthesiser import render, sample_song
from tests.sounds import RATE
from tests.unit.preprocessing.helpers import levels


def clicks(bpm: float, seconds: float) -> np.ndarray:
    """Equal short noises on every beat, (frames, 1)."""
    samples = np.zeros(round(seconds * RATE))
    noise = np.random.default_rng(0).normal(size=2000) * np.exp(-np.arange(2000) / 300)
    for start in np.arange(0, seconds - 0.1, 60 / bpm):
        samples[round(start * RATE) :][:2000] += 0.3 * noise
    return samples[:, None]


@pytest.mark.parametrize(
    ("genre", "bpm", "key"),
    [("lofi", 72, "D major"), ("house", 124, "A minor"), ("drum and bass", 174, "F major"), ("techno", 138, "C minor")],
)
def test_slow_and_fast_songs(genre: str, bpm: int, key: str, tmp_path: Path) -> None:
    note, mode = key.split()
    song = sample_song(np.random.default_rng(2), genre, bpm=bpm, root=NOTES.index(note), mode=mode, drums=True)
    soundfile.write(tmp_path / "a.wav", render(song, 30, RATE, 2).T, RATE)
    record = analyse(tmp_path / "a.wav").record()
    assert (record["bpm"], record["key"]) == (bpm, key)


@pytest.mark.slow
def test_a_song_has_one_tempo_however_it_is_encoded(tmp_path: Path) -> None:
    song = sample_song(np.random.default_rng(3), "synthwave", bpm=95, drums=True)
    samples = render(song, 30, RATE, 2).T
    for rate in (22_050, 48_000):
        soundfile.write(tmp_path / f"{rate}.wav", soxr.resample(samples, RATE, rate), rate)
    for name in ("a.wav", "a.mp3", "a.ogg", "a.flac"):
        soundfile.write(tmp_path / name, samples, RATE)
    records = [analyse(path).record() for path in tmp_path.iterdir()]
    assert len(records) == 6
    assert {record["bpm"] for record in records} == {95}


def test_an_unsure_tempo_has_an_alternative(tmp_path: Path) -> None:
    """Equal clicks are as well those of half the tempo."""
    soundfile.write(tmp_path / "a.wav", clicks(120, 30), RATE)
    record = analyse(tmp_path / "a.wav").record()
    assert {record["bpm"], record["bpm_alternative"]} == {60, 120}
    assert record["bpm_confidence"] >= record["bpm_alternative_confidence"] >= 0.1
    assert record["bpm_confidence"] + record["bpm_alternative_confidence"] <= 1.001


def test_a_sure_tempo_has_no_alternative(tmp_path: Path) -> None:
    song = sample_song(np.random.default_rng(1), "house", bpm=124, drums=True)
    soundfile.write(tmp_path / "a.wav", render(song, 30, RATE, 2).T, RATE)
    record = analyse(tmp_path / "a.wav").record()
    assert record["bpm_confidence"] > 0.9
    assert (record["bpm_alternative"], record["bpm_alternative_confidence"]) == (None, None)


def test_no_tempo_has_no_alternative() -> None:
    record = Analysis(levels(np.zeros((RATE, 1)))).record()
    assert (record["bpm"], record["bpm_alternative"], record["bpm_alternative_confidence"]) == (None, None, None)
