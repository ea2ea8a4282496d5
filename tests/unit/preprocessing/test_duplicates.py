"""The same recording is found again however it was copied; other songs are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing import analysis
from preprocessing.analysis import analyse
from preprocessing.duplicates import duplicates
from preprocessing.features import RATE as ANALYSED_RATE
from preprocessing.fingerprint import Fingerprint, fingerprint
from recipes.synthesiser import Song, render, sample_song
from tests.sounds import RATE

SONG = sample_song(np.random.default_rng(5), "lofi", drums=True)
OTHER = sample_song(np.random.default_rng(6), "lofi")
SECONDS = 20


@cache
def rendered(song: Song) -> np.ndarray:
    """Mono, at the analysis's rate."""
    return render(song, SECONDS, ANALYSED_RATE, 1)[0]


def played_at(speed: float) -> np.ndarray:
    return soxr.resample(rendered(SONG), ANALYSED_RATE, ANALYSED_RATE / speed)


def faded() -> np.ndarray:
    gain = np.ones(SECONDS * ANALYSED_RATE, np.float32)
    gain[: 3 * ANALYSED_RATE] = np.linspace(0, 1, 3 * ANALYSED_RATE)
    gain[-3 * ANALYSED_RATE :] = np.linspace(1, 0, 3 * ANALYSED_RATE)
    return rendered(SONG) * gain


COPIES: dict[str, Callable[[], np.ndarray]] = {
    "0.2 s cut off": lambda: rendered(SONG)[ANALYSED_RATE // 5 :],
    "1 s cut off": lambda: rendered(SONG)[ANALYSED_RATE:],
    "silence before it": lambda: np.pad(rendered(SONG), (2 * ANALYSED_RATE, 0)),
    "faded": faded,
    "3 % faster": lambda: played_at(1.03),
    "3 % slower": lambda: played_at(0.97),
    "limited": lambda: np.tanh(2 * rendered(SONG)),
    "duller": lambda: np.convolve(rendered(SONG), [0.5, 0.5], "same"),
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies(kind: str) -> None:
    song, copy = fingerprint(rendered(SONG)), fingerprint(COPIES[kind]())
    assert duplicates([song, copy]) == [None, 0]
    assert duplicates([copy, song]) == [None, 0]


OTHERS = {
    "a semitone up": replace(SONG, root=(SONG.root + 1) % 12),
    "a fourth up": replace(SONG, root=(SONG.root + 5) % 12),
    "over the same drum loop": replace(
        OTHER, bpm=SONG.bpm, kit=SONG.kit, groove=SONG.groove, swing=SONG.swing, drums=True
    ),
    "faster at its own pitch": replace(SONG, bpm=round(SONG.bpm * 1.1)),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_songs(kind: str) -> None:
    assert duplicates([fingerprint(rendered(SONG)), fingerprint(rendered(OTHERS[kind]))]) == [None, None]


@pytest.mark.slow
def test_the_same_song_twice(tmp_path: Path) -> None:
    song = sample_song(np.random.default_rng(5), "lofi", drums=True)
    samples = render(song, 20, RATE, 2).T
    soundfile.write(tmp_path / "0.wav", samples, RATE)
    soundfile.write(tmp_path / "1.wav", render(replace(song, root=(song.root + 1) % 12), 20, RATE, 2).T, RATE)
    soundfile.write(tmp_path / "2.mp3", samples, RATE)
    soundfile.write(tmp_path / "3.wav", render(replace(song, seed=song.seed + 1), 20, RATE, 2).T, RATE)
    late = np.concatenate([np.zeros((1500, 2)), 0.3 * samples])
    soundfile.write(tmp_path / "4.ogg", late, RATE)
    soundfile.write(tmp_path / "5.wav", render(song, 20, 48_000, 1).T, 48_000)
    soundfile.write(tmp_path / "6.wav", samples[: 15 * RATE], RATE)  # a shorter edit
    soundfile.write(tmp_path / "7.wav", np.zeros((20 * RATE, 1)), RATE)
    soundfile.write(tmp_path / "8.wav", np.zeros((20 * RATE, 1)), RATE)
    prints = [analyse(path).fingerprint for path in sorted(tmp_path.iterdir())]
    assert duplicates(prints) == [None, None, 0, None, 0, 0, None, None, None]


def test_a_long_recording_that_opens_with_a_song_is_no_copy_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis, "MAX_ANALYSED_SECONDS", 20)  # the fingerprint covers no more
    song, rest = rendered(SONG)[: 18 * ANALYSED_RATE], rendered(OTHER)
    sounds = [song, np.concatenate([song, rest, rest]), np.concatenate([song, rest])]
    for number, samples in enumerate([*sounds, sounds[1]]):
        soundfile.write(tmp_path / f"{number}.wav", samples, ANALYSED_RATE)
    found = [analyse(path) for path in sorted(tmp_path.iterdir())]
    firsts = duplicates([each.fingerprint for each in found], [each.unfingerprinted for each in found])
    assert firsts == [None, None, None, 1]


def test_songs_without_a_fingerprint_are_not_each_others_duplicates() -> None:
    assert duplicates([]) == []
    assert duplicates([None, None]) == [None, None]


def noise(seed: int, frames: int) -> Fingerprint:
    """Noise that changes every eighth frame."""
    return np.random.default_rng(seed).integers(0, 160, (144, frames // 8), np.uint8).repeat(8, axis=1)


@given(st.lists(st.integers(0, 3), max_size=8), st.integers(0, 40), st.integers(0, 60))
@settings(deadline=None, max_examples=30)
def test_each_song_repeats_its_first_occurrence(seeds: list[int], cut: int, louder: int) -> None:
    """Songs may lack a part of their beginning, and be louder in each band."""
    prints = [
        noise(seed, 300 + 40 * seed)[:, cut * (place % 2) :] + np.uint8(louder) for place, seed in enumerate(seeds)
    ]
    assert duplicates(prints) == [
        None if seeds.index(seed) == place else seeds.index(seed) for place, seed in enumerate(seeds)
    ]


@given(st.integers(1, 80), st.integers(1, 80), st.integers(0, 160))
@settings(deadline=None, max_examples=30)
def test_fingerprints_of_any_length_and_level(one: int, other: int, level: int) -> None:
    found = duplicates([np.full((144, one), level, np.uint8), noise(0, other), np.zeros((144, one), np.uint8)])
    assert found == [None, None, None]
