"""The measures that need no reference, on signals whose answer is known."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.audio_measures import Audio, comb, line, persistence, pulse, whistle
from training.evaluation.energy_distance import energy_distance

RATE = 24_000


def noise(seconds: float = 6.0, rate: int = RATE, seed: int = 0) -> Audio:
    return np.random.default_rng(seed).standard_normal(round(seconds * rate)).astype(np.float32)


def tones(*hertz: float, seconds: float = 6.0, rate: int = RATE) -> Audio:
    time = np.arange(round(seconds * rate)) / rate
    return np.sin(2 * np.pi * np.outer(hertz, time)).sum(0).astype(np.float32)


def clicks(bpm: float, seconds: float = 8.0, rate: int = RATE) -> Audio:
    gate = np.exp(-30 * (np.arange(round(seconds * rate)) / rate % (60 / bpm)))
    return (gate * noise(seconds, rate)).astype(np.float32)


def chords(each: float, seconds: float = 6.0) -> Audio:
    """Random chords of three tones that last `each` seconds."""
    rng = np.random.default_rng(1)
    parts = [
        tones(*110 * 2 ** (rng.choice(48, 3, replace=False) / 12), seconds=each) for _ in range(round(seconds / each))
    ]
    return np.concatenate(parts)


@pytest.mark.parametrize("bpm", [60, 97, 140, 199])
def test_the_pulse_of_clicks_is_high_at_any_tempo(bpm: float) -> None:
    assert pulse(clicks(bpm), RATE) > 0.7


def test_the_pulse_of_noise_tones_and_silence_is_low() -> None:
    assert pulse(noise(8), RATE) < 0.3
    assert pulse(tones(220, 330) + 0.01 * noise(), RATE) < 0.3
    assert pulse(np.zeros(RATE, np.float32), RATE) == 0


def test_irregular_clicks_have_less_pulse_than_regular_ones() -> None:
    rng = np.random.default_rng(3)
    irregular = np.concatenate([clicks(60 / gap, gap) for gap in rng.uniform(0.2, 0.9, 15)])
    assert pulse(irregular, RATE) < 0.4 < pulse(clicks(120), RATE)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.floats(-60, 20), st.floats(-90, -50), st.integers(0, 99), st.sampled_from([70.0, 110.0, 180.0]))
def test_neither_gain_nor_faint_noise_changes_the_pulse(gain: float, level: float, seed: int, bpm: float) -> None:
    audio = clicks(bpm)
    peak = np.abs(audio).max()
    noisy = audio + peak * 10 ** (level / 20) * noise(8, seed=seed)
    assert pulse((10 ** (gain / 20) * audio).astype(np.float32), RATE) == pytest.approx(pulse(audio, RATE), abs=1e-3)
    assert pulse(noisy.astype(np.float32), RATE) == pytest.approx(pulse(audio, RATE), abs=0.1)


def test_tones_persist_and_noise_does_not() -> None:
    assert persistence(chords(1.0) + 0.02 * noise(), RATE) > 0.4
    assert abs(persistence(noise(), RATE)) < 0.05
    assert persistence(np.zeros(RATE, np.float32), RATE) == 0


def test_lines_that_never_end_do_not_count_as_tones() -> None:
    lines = 0.3 * tones(*range(150, 4000, 150))
    assert abs(persistence(lines + noise(), RATE)) < 0.05
    assert abs(persistence(lines + 0.01 * noise(), RATE)) < 0.05


def test_tones_shorter_than_the_lag_persist_less() -> None:
    long, middle, short = (persistence(chords(each) + 0.02 * noise(), RATE) for each in (1.0, 0.5, 0.2))
    assert long > middle + 0.1 > short + 0.2
    assert abs(short) < 0.1


def test_the_level_changes_no_measure() -> None:
    audio: Audio = clicks(120, 4) + np.float32(0.1) * tones(440, 3900, seconds=4)
    quiet = (audio / 500).astype(np.float32)
    for measure in (pulse, persistence, whistle, partial(comb, spacing=150)):
        assert measure(quiet, RATE) == pytest.approx(measure(audio, RATE), abs=0.01)


@pytest.mark.parametrize("rate", [16_000, 32_000, 48_000])
def test_the_rate_hardly_changes_a_measure(rate: int) -> None:
    assert pulse(clicks(120, rate=rate), rate) == pytest.approx(pulse(clicks(120), RATE), abs=0.1)
    resampled = soxr.resample(chords(0.5), RATE, rate, quality="HQ")
    assert persistence(resampled, rate) == pytest.approx(persistence(chords(0.5), RATE), abs=0.1)
    whistling = tones(3000, rate=rate) + noise(rate=rate)
    assert line(whistling, rate, 3000) > 20


def test_a_whistle_stands_out() -> None:
    assert whistle(noise(), RATE) < 6
    assert whistle(noise() + tones(3900), RATE) > 20


def test_a_comb_is_seen_at_its_own_spacing_only() -> None:
    teeth = noise() + 0.3 * tones(*range(1050, 11_000, 150))
    every, half, other = (comb(teeth, RATE, spacing) for spacing in (150, 75, 170))
    assert every > 10 and half == pytest.approx(every / 2, abs=1) and other < every / 4
    beside = noise() + 0.3 * tones(*(hz + 40 for hz in range(1050, 11_000, 150)))
    assert abs(comb(noise(), RATE, 150)) < 1 and abs(comb(beside, RATE, 150)) < 1


def test_a_chord_is_no_comb() -> None:
    assert comb(noise() + tones(*(220 * 2 ** (n / 12) * m for n in (0, 4, 7) for m in range(1, 12))), RATE, 150) < 2


def test_a_line_is_steady_only_if_it_lasts() -> None:
    passing = np.concatenate([tones(3900, seconds=2), np.zeros(4 * RATE, np.float32)])
    assert whistle(noise() + passing, RATE) < 6


def test_a_line_is_measured_where_it_is() -> None:
    seam = noise() + tones(3000)
    assert line(seam, RATE, 3000) > 20
    assert line(seam, RATE, 3100) < 6


def test_the_energy_distance_is_of_distributions() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 200, 5)).astype(np.float32)
    assert energy_distance(a, a) == pytest.approx(0, abs=1e-5)
    assert energy_distance(a, b) < 0.1 < 1 < energy_distance(a, b + 2)
    # Of two points that are d apart: 2 d.
    assert energy_distance(np.zeros((1, 3), np.float32), np.full((1, 3), 2, np.float32)) == pytest.approx(2 * 12**0.5)
