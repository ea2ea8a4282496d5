"""TPDF dither: its noise floor, its independence of the signal, and its repeatability."""

from __future__ import annotations

import numpy as np
import pytest

from models.dither import dithered


@pytest.mark.parametrize("bits", [16, 24])
def test_the_noise_floor_is_that_of_tpdf_dither(bits: int) -> None:
    """Dither of variance step² / 6 and rounding of step² / 12 make step² / 4, whatever the signal is."""
    step = 2.0 ** (1 - bits)
    time = np.arange(200_000, dtype=np.float64)[:, None]
    for level in (0.0, 0.3 * step, 0.01, 0.5):
        signal = (level * np.sin(time / 17.3)).astype(np.float32)
        error = dithered(signal, bits, seed=3).astype(np.float64) - signal
        assert abs(error.mean()) < 0.01 * step
        assert error.std() == pytest.approx(step / 2, rel=0.01)


def test_a_tone_below_a_step_is_heard() -> None:
    """Plain rounding would make silence of it."""
    step = 2.0**-15
    tone = (0.4 * step * np.sin(2 * np.pi * 1000 * np.arange(480_000) / 48_000)).astype(np.float32)[:, None]
    spectrum = np.abs(np.fft.rfft(dithered(tone, 16, seed=1)[:, 0])) / len(tone) * 2
    assert spectrum[10_000] == pytest.approx(0.4 * step, rel=0.05)
    harmonics = spectrum[[20_000, 30_000, 50_000]]
    assert harmonics.max() < 0.02 * step


def test_samples_are_multiples_of_a_step_within_full_scale() -> None:
    loud = np.array([[1.0, -1.0]] * 1000, np.float32)
    whole = dithered(loud, 16, seed=1) * 2**15
    assert np.array_equal(whole, np.rint(whole)) and whole.min() >= -(2**15) and whole.max() == 2**15 - 1


def test_the_noise_follows_from_the_seed_however_long_the_track_is() -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, (200_000, 2)).astype(np.float32)
    whole = dithered(samples, 16, seed=7)
    assert np.array_equal(dithered(samples[:70_000], 16, seed=7), whole[:70_000])
    assert not np.array_equal(dithered(samples, 16, seed=8), whole)
