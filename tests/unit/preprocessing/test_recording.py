"""Recordings for a model: of every form, with the file's own samples beside them."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocessing.containers.base import BadAudio
from preprocessing.recording import Converted, Target, convert
from tests.sounds import Sound, chord, encoded, kinds, written

TARGET = Target(48_000, 2, 60.0)


def converted(data: bytes, tmp_path: Path, target: Target = TARGET) -> tuple[Converted, Sound, Sound]:
    """The form, the model's samples, and the file's own."""
    path = tmp_path / "recording"
    path.write_bytes(data)
    with tempfile.TemporaryFile(buffering=0) as flac, tempfile.TemporaryFile(buffering=0) as kept:
        found = convert(path, target, flac, kept)  # type: ignore[arg-type]
        for file in (flac, kept):
            file.seek(0)
        samples, rate = soundfile.read(io.BytesIO(flac.read()), always_2d=True)
        assert rate == target.sample_rate and samples.shape[1] == target.channels
        own = np.frombuffer(kept.read(), np.float32).reshape(-1, found.channels)
    assert len(own) == found.frames
    return found, samples, own.astype(float)


@pytest.mark.parametrize(
    ("container", "subtype", "sample_format"),
    [
        ("WAV", "PCM_16", "int16"),
        ("WAV", "PCM_24", "int24"),
        ("WAV", "FLOAT", "float32"),
        ("FLAC", "PCM_16", "int16"),
        ("FLAC", "PCM_24", "int24"),
    ],
)
def test_the_files_own_samples_are_kept_to_the_bit(
    container: str, subtype: str, sample_format: str, tmp_path: Path
) -> None:
    sound = np.random.default_rng(1).uniform(-1, 1, (30_000, 2))
    data = written(sound, format=container, subtype=subtype)
    found, _, own = converted(data, tmp_path)
    stored = soundfile.read(io.BytesIO(data), dtype="float64", always_2d=True)[0]
    assert (found.sample_format, found.sample_rate, found.channels) == (sample_format, 44_100, 2)
    assert np.array_equal(own, stored)


@pytest.mark.parametrize("rate", [4_000, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_model_hears_the_recording_in_time(rate: int, channels: int, tmp_path: Path) -> None:
    found, samples, own = converted(written(chord(1.5, rate, channels), rate), tmp_path)
    assert found.seconds == 1.5 and len(samples) == 72_000
    expected = chord(1.5, 48_000, channels)
    assert np.abs(samples[4_800:-4_800] - expected[4_800:-4_800]).max() < 2e-3
    assert np.abs(own - chord(1.5, rate, channels)).max() < 1e-4


@pytest.mark.parametrize("name", ["mp3", "opus", "m4a", "aiff", "caf", "wav double", "wav 8 bit", "vorbis"])
def test_other_formats(name: str, tmp_path: Path) -> None:
    found, samples, _ = converted(kinds()[name], tmp_path)
    assert found.seconds == pytest.approx(3, abs=0.06) and len(samples) == round(found.seconds * 48_000)
    assert found.sample_format == ("float32" if name == "wav double" else "int24" if name == "caf" else "int16")


def test_alac_of_24_bits(tmp_path: Path) -> None:
    data = encoded(chord(1), "alac", "ipod", options={})
    assert converted(data, tmp_path)[0].sample_format in ("int16", "int24")


def test_silence_is_added_where_a_recording_is_extended(tmp_path: Path) -> None:
    data = written(chord(1, 48_000), 48_000)
    _, samples, _ = converted(data, tmp_path, Target(48_000, 2, 60.0, before=0.5, after=0.25))
    assert len(samples) == 84_000
    assert not samples[:24_000].any() and not samples[72_000:].any()
    assert np.abs(samples[24_000:72_000] - chord(1, 48_000)).max() < 1e-4


def test_a_long_reference_is_its_front_middle_and_end(tmp_path: Path) -> None:
    wave = np.repeat(np.linspace(-0.9, 0.9, 45 * 8_000)[:, None], 1, axis=1)
    target = Target(8_000, 1, 60.0, excerpt=True)
    _, samples, _ = converted(written(wave, 8_000, subtype="PCM_24"), tmp_path, target)
    parts = [wave[: 10 * 8_000], wave[15 * 8_000 : 25 * 8_000], wave[35 * 8_000 :]]
    assert samples.shape == (30 * 8_000, 1) and np.abs(samples - np.concatenate(parts)).max() < 1e-5
    _, short, _ = converted(written(wave[: 8_000 * 29], 8_000), tmp_path, target)
    assert len(short) == 29 * 8_000


def test_samples_over_full_scale_are_turned_down_for_the_model_alone(tmp_path: Path) -> None:
    loud = chord(1, 48_000, level=3.0)
    found, samples, own = converted(written(loud, 48_000, subtype="FLOAT"), tmp_path)
    assert found.peak == pytest.approx(np.abs(loud).max(), rel=1e-4)
    assert np.abs(samples * found.peak - loud).max() < 1e-3 and np.abs(own - loud).max() < 1e-6


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (written(chord(1, channels=6)), "6 channels"),
        (written(chord(0.05)), "at least 0.1 s"),
        (written(chord(61, 8_000, 1), 8_000), "longer than the 60 s"),
        (b"no sound", "not"),
    ],
)
def test_recordings_that_cannot_be_used(data: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(BadAudio, match=reason):
        converted(data, tmp_path)


def test_a_source_of_too_many_samples_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preprocessing.recording.MAX_KEPT_SAMPLES", 2 * 44_100)
    converted(written(chord(1)), tmp_path)
    with pytest.raises(BadAudio, match="too many samples"):
        converted(written(chord(1.1)), tmp_path)
