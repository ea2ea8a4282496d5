"""Loops: whole bars, a join that is not heard, and the requests that cannot be looped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import GenerateRequest
from core.errors import Refusal
from generation.delivery.loop import Loop, loop_of
from generation.delivery.true_peak import Samples
from recipes.synthesiser import render, sample_song

RATE = 48_000
_WINDOW = 2_048


def asked(**fields: object) -> GenerateRequest:
    return GenerateRequest.model_validate({"prompt": "x", "loop": True} | fields)


def spectral_jump(samples: Samples, at: int) -> float:
    """How much the spectrum changes at a frame: the distance of the windows before and after it, in decibels."""
    before, after = (
        np.abs(np.fft.rfft(samples[start : start + _WINDOW].mean(axis=1) * np.hanning(_WINDOW)))
        for start in (at - _WINDOW, at)
    )
    return float(np.mean(np.abs(20 * np.log10((after + 1e-4) / (before + 1e-4)))))


def jump_at_the_join(loop: Samples, beat: float) -> float:
    """The spectral jump where the loop starts again, by the median of those at its other beats."""
    twice = np.concatenate([loop, loop])
    beats = [round(number * beat) for number in range(1, round(len(loop) / beat))]
    return spectral_jump(twice, len(loop)) / float(np.median([spectral_jump(twice, at) for at in beats]))


@given(
    bpm=st.integers(30, 300),
    time_signature=st.sampled_from(["2", "3", "4", "6"]),
    seconds=st.floats(0.1, 60),
    rate=st.sampled_from([32_000, 44_100, 48_000]),
)
def test_a_loop_has_whole_bars_to_the_sample(bpm: int, time_signature: str, seconds: float, rate: int) -> None:
    loop = loop_of(asked(time_signature=time_signature, duration_seconds=seconds), bpm, 120, "ace_step")
    bar = {"2": 2, "3": 3, "4": 4, "6": 3}[time_signature] * 60 / bpm
    track = np.zeros((round(loop.made_seconds * rate), 1), np.float32)
    frames = len(loop.cut(track, rate))
    assert abs(frames - loop.bars * bar * rate) <= 0.5 + 1e-6
    assert loop.bars >= 1 and loop.made_seconds <= 120 + 1e-6
    assert abs(loop.bars * bar - seconds) <= bar / 2 + 1e-6 or loop.bars in (1, int(120 / bar + 1e-9) - 2)


@pytest.mark.parametrize("number", range(12))
def test_the_join_is_like_any_other_beat(number: int) -> None:
    song = sample_song(np.random.default_rng(number))
    loop = Loop(4, round(song.bpm), str(song.beats_per_bar))
    track = np.ascontiguousarray(render(song, seconds=loop.made_seconds + 1).T, np.float32)
    cut = loop.cut(track, RATE)
    assert jump_at_the_join(cut, 60 / loop.bpm * RATE) <= 1.5
    # Sample to sample, the join is a step that the track itself takes.
    start = round(loop.bar_seconds * RATE)
    assert np.allclose(cut[0] - cut[-1], track[start] - track[start - 1], atol=0.02)


def test_a_tone_that_does_not_fit_the_bars_does_not_click() -> None:
    loop = Loop(2, 120, "4")
    tone = (0.5 * np.sin(2 * np.pi * 441.3 * np.arange(round(loop.made_seconds * RATE)) / RATE)).astype(np.float32)
    cut = loop.cut(tone[:, None], RATE)
    steps = np.abs(np.diff(np.concatenate([cut, cut]), axis=0))
    assert steps.max() < 1.5 * np.abs(np.diff(tone)).max()


def test_a_piece_keeps_its_beginning_and_ending_out_of_the_loop() -> None:
    loop = Loop(1, 120, "4")
    track = np.ones((3 * 2 * RATE, 1), np.float32)
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
    assert loop_of(asked(duration_seconds=24), 30, 24, "musicgen").bars == 1
