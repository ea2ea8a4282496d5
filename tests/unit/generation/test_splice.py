"""The splice: samples outside the window are the source's own, for any window, rate and number of channels."""

from __future__ import annotations

import io
from math import sqrt

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from generation.editing.recordings import Samples, Source
from generation.editing.splice import CROSSFADE_SECONDS, splice
from generation.editing.windows import Window
from generation.encode import Sound, encode
from generation.provenance import Provenance
from preprocessing.decoders import SampleFormat
from runners.messages import Audio

MODEL_RATE = 48_000
RATES = (4_000, 22_050, 44_100, 48_000, 192_000)


def noise(frames: int, channels: int, number: int = 1, level: float = 0.2) -> Samples:
    samples = np.random.default_rng(number).normal(0, level, (frames, channels))
    return np.clip(samples, -1, 1).astype(np.float32)


def source_of(samples: Samples, rate: int, sample_format: SampleFormat = "float32", peak: float = 1.0) -> Source:
    return Source(Audio(flac=b"", sha256=""), "a", None, samples, rate, sample_format, peak)


def tone(seconds: float, rate: int, channels: int, pitch: float = 440.0) -> Samples:
    wave = 0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def as_track(samples: Samples, rate: int = MODEL_RATE) -> Sound:
    return Sound((np.rint(samples * 32767).astype(np.int16),), rate)


def joined(sound: Sound) -> Samples:
    return sound.floats()


@given(
    rate=st.sampled_from(RATES),
    channels=st.sampled_from((1, 2)),
    model_channels=st.sampled_from((1, 2)),
    seconds=st.floats(0.1, 1.5),
    edges=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_samples_outside_any_window_are_the_sources_own(
    rate: int, channels: int, model_channels: int, seconds: float, edges: tuple[float, float]
) -> None:
    own = noise(round(seconds * rate), channels)
    length = len(own) / rate
    start, end = (edge * length for edge in sorted(edges))
    made = as_track(noise(round(length * MODEL_RATE), model_channels, 2))
    spliced = splice(source_of(own, rate), made, Window(start, end, length))
    result = joined(spliced)
    assert result.shape == own.shape and spliced.sample_rate == rate
    first, last = round(start * rate), round(end * rate)
    assert np.array_equal(result[:first], own[:first]) and np.array_equal(result[last:], own[last:])
    assert np.isfinite(result).all()


@given(
    rate=st.sampled_from(RATES),
    channels=st.sampled_from((1, 2)),
    frames=st.integers(1, 3_000),
    before=st.one_of(st.just(0.0), st.floats(0.01, 1.0), st.integers(1, 4_000).map(lambda half: half / 8_000)),
    after=st.one_of(st.just(0.0), st.floats(0.01, 1.0)),
)
def test_an_extended_source_stays_whole(rate: int, channels: int, frames: int, before: float, after: float) -> None:
    own = noise(frames, channels)
    length = before + frames / rate + after
    window = Window(before + frames / rate, length, length, before) if after else Window(0.0, before, length, before)
    result = joined(splice(source_of(own, rate), as_track(noise(round(length * MODEL_RATE), 2, 3)), window))
    start = round(before * rate)
    assert np.array_equal(result[start : start + frames], own)
    assert abs(len(result) - length * rate) <= 1.5


@pytest.mark.parametrize("rate", RATES)
def test_the_window_has_the_tracks_samples_in_time(rate: int) -> None:
    """A tone that a model made at its own rate has the phase of the same tone at the source's rate."""
    own, made = tone(2, rate, 2), tone(2, MODEL_RATE, 2)
    result = joined(splice(source_of(own, rate), as_track(made), Window(0.5, 1.5, 2.0)))
    fade = round(CROSSFADE_SECONDS * rate)
    inside = slice(round(0.5 * rate) + fade, round(1.5 * rate) - fade)
    assert np.abs(result[inside] - own[inside]).max() < 2e-3


def test_the_whole_window_is_the_track_and_an_empty_one_the_source() -> None:
    own, made = noise(48_000, 2), as_track(noise(48_000, 2, 2))
    assert np.array_equal(joined(splice(source_of(own, 48_000), made, Window(0, 1, 1))), made.floats())
    assert np.array_equal(joined(splice(source_of(own, 48_000), made, Window(0.3, 0.3, 1))), own)


def test_the_cross_fade_keeps_the_power_and_lies_inside_the_window() -> None:
    rate, fade = 48_000, round(CROSSFADE_SECONDS * 48_000)
    assert CROSSFADE_SECONDS <= 0.05
    powers = []
    for number in range(40):
        own, made = noise(rate, 1, number), as_track(noise(rate, 1, 100 + number))
        result = joined(splice(source_of(own, rate), made, Window(0.25, 0.75, 1.0)))
        start, end = rate // 4, 3 * rate // 4
        assert np.array_equal(result[start + fade : end - fade], made.floats()[start + fade : end - fade])
        powers.append([np.mean(result[at : at + fade] ** 2) for at in (start, end - fade)])
    assert sqrt(np.mean(powers)) == pytest.approx(0.2, rel=0.02)


def test_there_is_no_jump_where_a_source_is_extended() -> None:
    """The source's end, run backwards, fades out under what follows."""
    own = tone(1, 48_000, 1, 100)
    made = as_track(np.concatenate([own, -own]))
    result = joined(splice(source_of(own, 48_000), made, Window(1.0, 2.0, 2.0)))[:, 0]
    steps = np.abs(np.diff(result))
    assert steps[47_990:50_000].max() < 1.5 * steps[:47_000].max()


def test_a_loud_source_is_given_back_as_loud() -> None:
    own = 2 * tone(1, 48_000, 2)
    result = joined(splice(source_of(own, 48_000, peak=2.0), as_track(own * np.float32(0.5)), Window(0.2, 0.8, 1)))
    assert np.abs(result - own).max() < 1e-3


@pytest.mark.parametrize(
    ("sample_format", "subtype", "flac"),
    [("int16", "PCM_16", "PCM_16"), ("int24", "PCM_24", "PCM_24"), ("float32", "FLOAT", "PCM_24")],
)
def test_a_file_has_the_sources_samples(sample_format: SampleFormat, subtype: str, flac: str) -> None:
    steps = {"int16": 2**15, "int24": 2**23}.get(sample_format)
    own = noise(44_100, 2)
    if steps:
        own = (np.rint(own * (steps - 1)) / steps).astype(np.float32)
    spliced = splice(source_of(own, 44_100, sample_format), as_track(noise(48_000, 2, 2)), Window(0.4, 0.6, 1))
    for output_format, expected in (("wav", subtype), ("flac", flac)):
        file, rate = encode(spliced, output_format, Provenance("x", "y", 1))  # type: ignore[arg-type]
        with soundfile.SoundFile(io.BytesIO(file)) as sound:
            assert (rate, sound.samplerate, sound.channels, sound.subtype) == (44_100, 44_100, 2, expected)
            samples = sound.read(dtype="float32")
        tolerance = 2**-23 if expected != subtype else 0
        assert np.abs(samples[:17_640] - own[:17_640]).max() <= tolerance
        assert np.abs(samples[26_460:] - own[26_460:]).max() <= tolerance


@pytest.mark.parametrize("output_format", ["mp3", "opus"])
@pytest.mark.parametrize("rate", [4_000, 96_000])
def test_lossy_files_of_any_rate(output_format: str, rate: int) -> None:
    spliced = splice(source_of(noise(rate, 1), rate), as_track(noise(48_000, 1, 2)), Window(0.4, 0.6, 1))
    file, _ = encode(spliced, output_format, Provenance("x", "y", 1))  # type: ignore[arg-type]
    assert soundfile.info(io.BytesIO(file)).duration == pytest.approx(1, abs=0.1)
