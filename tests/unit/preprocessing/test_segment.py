"""Segments: length, level, place in the song, silence, memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from preprocessing.segment import resampled, segments, to_pcm16
from tests.sounds import RATE
from tests.unit.preprocessing.helpers import peak_decibels, tone


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 1), (22_050, 2), (96_000, 6)])
def test_segments_are_15_s_at_minus_1_db_and_in_place(rate: int, channels: int, tmp_path: Path) -> None:
    song = tone(40.5, rate, channels)
    song[: rate * 15] *= 0.1
    click = round(31.25 * rate)
    song[click] = 1.0
    soundfile.write(tmp_path / "a.wav", song, rate, subtype="FLOAT")
    made = list(segments(tmp_path / "a.wav"))
    assert [segment.start for segment in made] == [0, 15, 30]
    assert [len(segment.samples) for segment in made if segment.samples is not None] == [661_500, 661_500, 463_050]
    for segment in made:
        assert segment.samples is not None
        assert peak_decibels(to_pcm16(segment.samples)) == pytest.approx(-1, abs=0.01)
    third = made[2].samples
    assert third is not None
    assert np.abs(third).argmax() / RATE == pytest.approx(1.25, abs=0.001)
    expected = tone(40.5, RATE, channels).mean(axis=1)[15 * RATE : 30 * RATE]
    second = made[1].samples
    assert second is not None
    error = second[200:-200, 0] / np.abs(second).max() - expected[200:-200] / np.abs(expected).max()
    assert np.abs(error).max() < 0.005


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(14.9, [14.9]), (15, [15]), (15.99, [15, "short"]), (16, [15, 1]), (0.5, ["short"]), (30, [15, 15])],
)
def test_tails_under_a_second_are_dropped(seconds: float, expected: list[Any], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(seconds), RATE)
    assert [segment.dropped or segment.seconds for segment in segments(tmp_path / "a.wav")] == expected


def test_silence_is_left_out_and_the_rest_keeps_its_place(tmp_path: Path) -> None:
    song = tone(50, channels=1)
    song[15 * RATE : 30 * RATE] *= 0.0009 / np.abs(song).max()  # just under −60 dBFS
    song[45 * RATE :] *= 0.0012 / np.abs(song).max()  # just over
    soundfile.write(tmp_path / "a.wav", song, RATE, subtype="FLOAT")
    made = list(segments(tmp_path / "a.wav"))
    assert [(segment.start, segment.dropped) for segment in made] == [(0, None), (15, "silent"), (30, None), (45, None)]


def test_native_profile_keeps_stereo(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(4), RATE)
    (segment,) = segments(tmp_path / "a.wav", 48_000, 2)
    assert segment.samples is not None
    assert segment.samples.shape == (192_000, 2)
    left, right = np.abs(segment.samples).max(axis=0)
    assert right / left == pytest.approx(0.8, abs=0.001)
    soundfile.write(tmp_path / "b.wav", tone(4, channels=6), RATE)
    assert np.concatenate(list(resampled(tmp_path / "b.wav", 32_000, 2))).shape == (128_000, 2)


@pytest.mark.slow
def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    """In a process of its own: ten minutes at 48 kHz, stereo, which are 220 MB as floats."""
    minute = tone(60, 48_000)
    with soundfile.SoundFile(tmp_path / "long.flac", "w", 48_000, 2) as file:
        for _ in range(10):
            file.write(minute)
    code = """
import resource, sys
from pathlib import Path
from preprocessing.segment import segments
next(segments(Path(sys.argv[1])))
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(segment.samples is not None for segment in segments(Path(sys.argv[1])))
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle) // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "long.flac")], capture_output=True, text=True, check=True
    )
    count, megabytes = done.stdout.split()
    assert int(count) == 40
    assert int(megabytes) < 50
