"""The parts of the twin report: held-out songs, paired losses, noise detection, features, the verdict, the page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.memorised import TrainingSegments
from recipes.synthesiser import GENRES, UNSEEN_STYLES, render, sample_song
from storage import NotFound
from training.devices import limit_memory
from training.evaluation import page
from training.evaluation.held_out import MIN_SONGS, choose_held_out
from training.evaluation.losses import compare
from training.evaluation.memorised import count_memorised
from training.evaluation.noise import is_noise
from training.history import History

songs = st.lists(st.floats(1, 600), max_size=60).map(
    lambda lengths: [(number, f"{number * 7919 % 101:03}", seconds) for number, seconds in enumerate(lengths)]
)


@given(songs)
def test_songs_are_held_out_if_there_are_enough(songs: list[tuple[int, str, float]]) -> None:
    held_out = choose_held_out(songs)
    assert bool(held_out) == (len(songs) >= MIN_SONGS) and len(held_out) < max(1, len(songs))
    assert choose_held_out(songs[::-1]) == held_out
    lengths = {index: seconds for index, _, seconds in songs}
    if len(held_out) > 1:
        assert sum(lengths[index] for index in held_out) <= 0.34 * sum(lengths.values())


def test_an_interval_is_over_songs_if_there_are_enough() -> None:
    rng = np.random.default_rng(1)
    without = 1 + rng.random(12)
    few = compare(without, without * 0.9, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    assert (few.sample, few.count) == ("segments", 12) and few.gain == pytest.approx(0.1)
    assert few.low is not None and few.high is not None and few.low < 0.1 < few.high
    many = compare(without, without - 0.1, [song for song in range(6) for _ in "ab"])
    assert (many.sample, many.count) == ("songs", 6) and many.low == pytest.approx(many.high)
    assert compare(without[:1], without[:1], [0]).low is None


@pytest.mark.slow
@given(st.integers(8, 23), st.floats(-1.5, 1.5))
def test_the_interval_has_its_coverage(count: int, effect: float) -> None:
    # 200 samples of a known effect: with 95 % intervals some 10 miss it; 25 or more would be one chance in 100,000.
    rng = np.random.default_rng(count)
    missed = 0
    for _ in range(200):
        without = 10 + rng.standard_normal(count)
        result = compare(without, without - effect - rng.standard_normal(count), list(range(count)))
        assert result.low is not None and result.high is not None
        missed += not result.low <= effect / result.without <= result.high
    assert missed < 25


@pytest.mark.parametrize("genre", [*GENRES, *UNSEEN_STYLES])
def test_music_is_not_noise(genre: str) -> None:
    for number in range(3):
        song = sample_song(np.random.default_rng(number), genre)
        assert not is_noise(render(song, 6, 32_000, 1), 32_000)


@pytest.mark.parametrize("colour", [-1.0, -0.5, 0.0, 0.5])
def test_noise_of_any_colour_is_detected(colour: float) -> None:
    rng = np.random.default_rng(3)
    spectrum = np.fft.rfft(rng.standard_normal(6 * 44_100)) * np.arange(1, 3 * 44_100 + 2) ** colour
    noise = np.fft.irfft(spectrum)
    assert is_noise((0.3 * noise / np.abs(noise).max()).astype(np.float32)[None], 44_100)


def test_a_history_is_restored_and_its_curve_stays_short() -> None:
    history = History()
    history.losses = [float(step) for step in range(10_001)]
    history.held_out, history.previews, history.seconds = [(0, 1.5), (10_001, 1.0)], [(0, "step_000000.mp3")], 12.5
    back = History(history.state())
    assert vars(back) == vars(history)
    curve = back.curve()
    assert len(curve) <= 400 and curve[-1][0] == 10_001 and curve[0][1] < curve[-1][1]


def test_training_waits_for_its_gpu_memory_and_is_limited_to_it() -> None:
    gpu, gib = torch.device("cuda"), 2**30
    free, limits, waited = [2 * gib, 3 * gib, 30 * gib], [], []

    def memory(device: torch.device) -> tuple[int, int]:
        return (free.pop(0) if len(free) > 1 else free[0]), 80 * gib

    def limit(part: float, device: torch.device) -> None:
        limits.append(part)

    assert limit_memory(gpu, 20 * gib, lambda: waited.append(1), memory, limit) == 20 * gib
    assert len(waited) == 2 and limits == [0.25]
    assert limit_memory(gpu, None, lambda: waited.append(1), memory, limit) == 29 * gib
    assert len(waited) == 2 and limits[1] == pytest.approx(29 / 80)
    with pytest.raises(ValueError, match="TRAIN_GPU_BYTES"):
        limit_memory(gpu, 81 * gib, lambda: waited.append(1), memory, limit)
    assert limit_memory(torch.device("cpu"), None, lambda: None) is None


def test_pieces_that_repeat_a_training_segment_are_counted() -> None:
    songs = [render(sample_song(np.random.default_rng(seed), "lofi"), 8, 24_000, 2) for seed in (1, 2, 3)]
    segments = TrainingSegments()
    segments.add(4, songs[0].mean(axis=0), 24_000)
    segments.add(7, songs[1].mean(axis=0), 24_000)
    pieces = [songs[1][:, : 6 * 24_000], songs[2][:, : 6 * 24_000], np.zeros((2, 6 * 24_000), np.float32)]
    counted = count_memorised(pieces, 24_000, segments, 0.91)
    assert counted and (counted["pieces"], counted["memorised"], counted["segment"]) == (2, 1, 7)
    assert counted["highest"] > 0.95 and counted["codec"] == 0.91
    assert count_memorised(pieces, 24_000, TrainingSegments()) is None
    assert count_memorised([songs[1][:, :24_000]], 24_000, segments) is None


def test_the_page_escapes_the_report_and_goes_without_missing_previews() -> None:
    evil = '</title><script>alert("x")</script>'
    report: dict[str, Any] = dict.fromkeys(("verdict", "data", "training", "held_out", "trained_on", "other_music"))
    report |= {"resemblance": None, "unmeasured": [evil], "previews": [{"step": 3, "name": "gone.mp3"}]}
    report |= {"comparisons": [{"prompt": evil, "without": "a.mp3", "with_twin": "b.mp3"}], "written_at": "now"}
    report |= {"producer_id": "ada", "model_name": "m", "job_id": "j", "backend": "b", "base": evil}

    def read(name: str) -> bytes:
        if name not in ("a.mp3", "b.mp3"):
            raise NotFound(name)
        return b"sound"

    text = page.render(report, read)
    assert "<script" not in text and text.count("data:audio/mpeg;base64,c291bmQ=") == 2 and "no verdict" in text
