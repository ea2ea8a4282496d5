"""Loops: whole bars, a join that is not heard, and the requests that cannot be looped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.delivery import join_of
from contract import GenerateRequest
from core.errors import Refusal
from generation.delivery.loop import Loop, loop_of
from recipes.synthesiser import sample_song

RATE = 48_000


def asked(**fields: object) -> GenerateRequest:
    return GenerateRequest.model_validate({"prompt": "x", "loop": True} | fields)


@given(
    bpm=st.integers(30, 300),
    time_signature=st.sampled_from(["2", "3", "4", "6"]),
    seconds=st.floats(0.1, 60),
    rate=st.sampled_from([32_000, 44_100, 48_000]),
)
@pytest.mark.slow
def test_a_loop_has_whole_bars_to_the_sample(bpm: int, time_signature: str, seconds: float, rate: int) -> None:
    loop = loop_of(asked(time_signature=time_signature, duration_seconds=seconds), bpm, 120, "ace_step")
    bar = {"2": 2, "3": 3, "4": 4, "6": 3}[time_signature] * 60 / bpm
    track = np.zeros((round(loop.made_seconds * rate), 1), np.float32)
    frames = len(loop.cut(track, rate))
    assert abs(frames - loop.bars * bar * rate) <= 0.5 + 1e-6
    assert loop.bars >= 1 and loop.made_seconds <= 120 + 1e-6
    assert abs(loop.bars * bar - seconds) <= bar / 2 + 1e-6 or loop.bars in (1, int(120 / bar + 1e-9) - 2)


def test_the_join_is_like_any_other_bar_line() -> None:
    # Song 68 changes at its second bar, which a loop that began there would repeat as a jump of 1.8.
    assert max(join_of(sample_song(np.random.default_rng(number))) for number in (0, 1, 2, 68)) <= 1.5


def test_the_first_sample_follows_the_last_as_in_the_track() -> None:
    loop = Loop(2, 120, "4")
    track = np.random.default_rng(1).normal(0, 0.1, (round(loop.made_seconds * RATE), 2)).astype(np.float32)
    cut = loop.cut(track, RATE)
    starts = [round(bars * loop.bar_seconds * RATE) for bars in (1, 2)]
    start = next(each for each in starts if np.array_equal(cut[0], track[each]))
    assert np.allclose(cut[-1], track[start - 1], atol=0.01)


def test_a_piece_keeps_its_beginning_and_ending_out_of_the_loop() -> None:
    loop = Loop(1, 120, "4")
    track = np.ones((4 * 2 * RATE, 1), np.float32)
    track[: RATE // 2] = 0
    track[-RATE:] = 0
    assert np.allclose(loop.cut(track, RATE), 1)


def test_bars_need_a_tempo() -> None:
    with pytest.raises(Refusal, match=r"^loop: .*send bpm") as refused:
        loop_of(asked(), None, 60, "musicgen")
    assert refused.value.status == 400


def test_a_bar_that_does_not_fit() -> None:
    with pytest.raises(Refusal, match=r"loop: a bar of 8 s with the bars around it .* musicgen makes at most"):
        loop_of(asked(), 30, 23.9, "musicgen")
    assert loop_of(asked(duration_seconds=24), 30, 24, "musicgen") == Loop(1, 30, "4", spare_bars=0)
