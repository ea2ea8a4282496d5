"""Loudness, peak, clipping and silence; loudness also against pyloudnorm."""

from __future__ import annotations

import math

import numpy as np
import pyloudnorm
import pytest

from preprocessing.levels import true_peak
from recipes.synthesiser import render, sample_song
from tests.sounds import RATE
from tests.unit.preprocessing.helpers import levels, sine


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_loudness_by_the_standards_own_examples(rate: int) -> None:
    """BS.1770-4: a 997 Hz sine at full scale on one channel is −3.01 LKFS; EBU Tech 3341, cases 1, 3 and 6."""
    assert levels(sine(5, rate=rate), rate).loudness == pytest.approx(-3.01, abs=0.03)
    both = np.repeat(sine(20, 1000, 10 ** (-23 / 20), rate), 2, axis=1)
    assert levels(both, rate).loudness == pytest.approx(-23, abs=0.1)
    quiet = both * 10 ** (-13 / 20)
    assert levels(np.concatenate([quiet[: 10 * rate], both, quiet[: 10 * rate]]), rate).loudness == pytest.approx(
        -23, abs=0.1
    )
    surround = np.repeat(sine(20, 1000, 1, rate), 6, axis=1)
    surround = surround * 10 ** (np.array([-28, -28, -24, -200, -30, -30]) / 20)
    assert levels(surround, rate).loudness == pytest.approx(-23, abs=0.1)


def test_levels_of_nothing_and_of_something() -> None:
    nothing = levels(np.zeros((RATE, 2)))
    assert (nothing.peak, nothing.loudness, nothing.clipped, nothing.silent) == (None, None, 0, 1.0)
    assert levels(np.empty((0, 1))).seconds == 0
    half = levels(np.concatenate([sine(1, level=0.5), np.zeros((RATE, 1))]))
    assert half.peak == pytest.approx(-6.02, abs=0.01)
    assert (half.silent, half.seconds) == (1.0, 2.0)
    assert levels(sine(1)).clipped == 0  # one sample at full scale now and then is a normalised peak
    flat = np.clip(1.5 * sine(1, 100), -1, 1)
    assert levels(flat, block=RATE).clipped == np.count_nonzero(np.abs(flat) >= 0.9999)
    assert levels(flat).clipped == pytest.approx(np.count_nonzero(np.abs(flat) >= 0.9999), rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_loudness_agrees_with_pyloudnorm(rate: int, channels: int) -> None:
    """On a song, on the same song with a quiet half and a silent part, and on noise."""
    song = render(sample_song(np.random.default_rng(3), "trap"), 6, rate, channels).T
    gated = np.concatenate([song, 0.05 * song, np.zeros_like(song)])
    noise = np.random.default_rng(0).normal(0, 0.1, (5 * rate, channels))
    meter = pyloudnorm.Meter(rate, filter_class="DeMan")
    for samples in (song, gated, noise):
        assert levels(samples, rate).loudness == pytest.approx(meter.integrated_loudness(samples), abs=0.01)


def test_a_true_peak_is_between_the_samples() -> None:
    between = np.sin(np.pi / 2 * np.arange(RATE) + np.pi / 4).astype(np.float32)[:, None]  # samples at ±0.71
    assert true_peak(between[100:-100], RATE) == pytest.approx(0, abs=0.2)
    assert true_peak(np.zeros((RATE, 2), np.float32), RATE) == -math.inf
