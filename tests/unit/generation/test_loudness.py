"""Loudness: off the target by 0.3 LU at most and never over the true peak, by meters of others."""

from __future__ import annotations

import numpy as np
import pyloudnorm
import pytest

from benchmarks.ebur128 import measure
from contract import GenerateRequest, OutputFormat
from generation.delivery.loudness import MAX_LIMITING_DB, at_loudness
from generation.delivery.plan import plan
from generation.delivery.true_peak import LOOK_AHEAD_SECONDS, Samples, limiter_gain, true_peaks
from generation.encode import decoded
from generation.provenance import Provenance
from recipes.synthesiser import render, sample_song
from runners.messages import TrackAnswer

RATE = 48_000
PROVENANCE = Provenance("ace_step", "starter", 1)


def song(number: int, seconds: float = 6) -> Samples:
    return np.ascontiguousarray(render(sample_song(np.random.default_rng(number)), seconds=seconds).T, np.float32)


def noise(seconds: float, channels: int = 2, level: float = 0.1, rate: int = RATE) -> Samples:
    return np.random.default_rng(1).normal(0, level, (round(seconds * rate), channels)).astype(np.float32)


def noise_with_a_click() -> Samples:
    samples = noise(6, 1, 0.04, 32_000)
    samples[50_000] = 0.99
    return samples


def click() -> Samples:
    samples = np.zeros((6 * RATE, 2), np.float32)
    samples[100_000] = 0.9
    return samples


def high_tone() -> Samples:
    """A tone whose samples miss its peaks by up to 3 dB."""
    return (0.5 * np.sin(np.pi / 2 * np.arange(4 * RATE) + np.pi / 4))[:, None].repeat(2, axis=1).astype(np.float32)


def delivered(samples: Samples, rate: int, output_format: OutputFormat, target: float) -> tuple[Samples, int]:
    request = GenerateRequest(prompt="x", loudness=target, output_format=output_format, seed=1)
    answer = TrackAnswer(pcm=samples.tobytes(), sample_format="float32", sample_rate=rate, channels=samples.shape[1])
    made = plan(request, None, 600, "ace_step", None).deliver(answer, PROVENANCE)
    return decoded(made.file, output_format), made.sample_rate


SOUNDS = {
    **{f"song {number}": (song(number), RATE) for number in range(4)},
    "noise": (noise(4), RATE),
    "very quiet noise": (noise(4, level=1e-5), RATE),
    "mono noise with a click": (noise_with_a_click(), 32_000),
    "a high tone": (high_tone(), RATE),
}


@pytest.mark.slow
@pytest.mark.parametrize("sound", SOUNDS)
@pytest.mark.parametrize(("output_format", "target"), [("wav", -14), ("wav", -9), ("wav", -30), ("flac", -14)])
def test_the_target_is_met_under_the_true_peak(sound: str, output_format: OutputFormat, target: float) -> None:
    samples, rate = delivered(*SOUNDS[sound], output_format, target)
    found = measure(samples, rate)
    assert found.loudness == pytest.approx(target, abs=0.3)
    assert pyloudnorm.Meter(rate).integrated_loudness(samples.astype(float)) == pytest.approx(target, abs=0.3)
    assert found.true_peak <= -1


@pytest.mark.slow
@pytest.mark.parametrize("sound", ["song 1", "noise", "mono noise with a click"])
@pytest.mark.parametrize(("output_format", "target"), [("mp3", -12), ("opus", -12), ("m4a", -12)])
def test_lossy_files_meet_it_too(sound: str, output_format: OutputFormat, target: float) -> None:
    found = measure(*delivered(*SOUNDS[sound], output_format, target))
    assert found.loudness == pytest.approx(target, abs=0.3) and found.true_peak <= -1


@pytest.mark.slow
@pytest.mark.parametrize("output_format", ["wav", "mp3", "m4a"])
def test_one_click_stays_under_the_true_peak(output_format: OutputFormat) -> None:
    found = measure(*delivered(click(), RATE, output_format, -14))
    assert found.true_peak <= -1


def test_true_peaks_near_half_the_sample_rate() -> None:
    """A tone whose samples miss its peaks, and that a resampler's filter would take off."""
    frequency = 0.47 * RATE
    tone = np.sin(2 * np.pi * frequency / RATE * np.arange(RATE))[:, None].astype(np.float32)
    middle = true_peaks(tone)[1_000:-1_000]
    assert middle.max() == pytest.approx(1, abs=0.02)


def test_silence_stays_silence() -> None:
    silence = np.zeros((RATE, 2), np.float32)
    assert not at_loudness(silence, RATE, -14).any()
    samples, _ = delivered(silence, RATE, "wav", -14)
    assert np.abs(samples).max() <= 2**-15  # the dither of 16 bits


def test_a_gain_alone_where_it_keeps_the_true_peak() -> None:
    samples = song(2)
    quieter = at_loudness(samples, RATE, -30)
    ratio = quieter[np.abs(samples) > 0.01] / samples[np.abs(samples) > 0.01]
    assert ratio.std() < 1e-6 * ratio.mean()


def test_the_limiter_works_around_peaks_only() -> None:
    samples = noise(1, level=0.05)
    samples[24_000] = 0.9
    peaks = true_peaks(samples)
    gain = limiter_gain(peaks, 0.5, RATE)
    assert (gain[:, None] * np.abs(samples)).max() <= 0.5 and gain.max() <= 1
    reach = round(2 * LOOK_AHEAD_SECONDS * RATE) + 10
    assert np.allclose(gain[: 24_000 - reach], 1) and np.allclose(gain[24_000 + reach :], 1)
    assert np.abs(np.diff(gain)).max() < 0.005  # no step that would click


def test_a_limiter_of_a_loop_sees_the_beginning_behind_the_end() -> None:
    samples = noise(1, level=0.05)
    samples[3] = 0.9
    gain = limiter_gain(true_peaks(samples, circular=True), 0.5, RATE, circular=True)
    assert gain[-1] < 0.8 and abs(gain[0] - gain[-1]) < 0.005


def test_a_limiter_is_driven_only_so_far() -> None:

    made = at_loudness(click() + noise(6, level=1e-5), RATE, -6)
    quiet = made[:90_000]
    assert np.sqrt(np.mean(quiet**2)) <= 1e-5 / 0.9 * 10 ** (MAX_LIMITING_DB / 20)
