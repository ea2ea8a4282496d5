"""Decoding: formats, encoder delay, hostile and damaged files."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from preprocessing.containers.base import BadAudio
from preprocessing.decode import blocks, check_ends, probe
from preprocessing.segment import segments
from tests.sounds import RATE, written
from tests.unit.preprocessing.helpers import tone, with_nan

KINDS = {
    "wav": {"subtype": "PCM_16"},
    "8.wav": {"subtype": "PCM_U8"},
    "24.wav": {"subtype": "PCM_24"},
    "float.wav": {"subtype": "FLOAT"},
    "double.wav": {"subtype": "DOUBLE"},
    "aiff": {"subtype": "PCM_16"},
    "flac": {"subtype": "PCM_16"},
    "mp3": {"subtype": "MPEG_LAYER_III"},
    "ogg": {"subtype": "VORBIS"},
}


def aac(path: Path, samples: np.ndarray, rate: int = RATE, container: str | None = None) -> None:
    with av.open(str(path), "w", format=container) as file:
        stream: Any = file.add_stream("aac", rate=rate, layout="stereo")
        for start in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples[start : start + 1024].T), format="fltp", layout="stereo"
            )
            frame.sample_rate, frame.pts = rate, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


@pytest.mark.parametrize("kind", KINDS)
def test_formats_by_their_content(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    soundfile.write(path, tone(3), RATE, **KINDS[kind])
    path = path.rename(tmp_path / "misnamed.txt")
    info = probe(path)
    assert (info.format, info.sample_rate, info.channels) == (kind.rpartition(".")[2], RATE, 2)
    assert info.seconds == pytest.approx(3, abs=0.01)
    assert check_ends(io.BytesIO(path.read_bytes())) == info
    samples = np.concatenate(list(blocks(path)))
    assert samples.dtype == np.float32
    assert samples.shape == (3 * RATE, 2)
    tolerance = {"8": 0.01, "mp3": 0.02, "ogg": 0.04}.get(kind.partition(".")[0], 1e-4)
    assert np.abs(samples - tone(3))[1000:-1000].max() < tolerance


def test_opus_and_aac(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "opus", tone(3, 48_000), 48_000, format="OGG", subtype="OPUS")
    aac(tmp_path / "song.m4a", tone(3, 48_000), 48_000)
    aac(tmp_path / "aac", tone(3, 48_000), 48_000, "adts")
    for name, format in {"opus": "opus", "song.m4a": "m4a", "aac": "aac"}.items():
        info = check_ends(io.BytesIO((tmp_path / name).read_bytes()))
        assert (info.format, info.sample_rate, info.channels) == (format, 48_000, 2)
        samples = np.concatenate(list(blocks(tmp_path / name)))
        assert len(samples) == pytest.approx(3 * 48_000, abs=2500)
        assert np.abs(samples).max() == pytest.approx(np.abs(tone(3)).max(), rel=0.05)


def test_encoder_delay_and_padding_are_removed(tmp_path: Path) -> None:
    """A click keeps its place, and nothing follows the end, in formats that state the encoder's delay."""
    song = tone(3)
    song[RATE : RATE + 50] = 1.0
    aac(tmp_path / "a.m4a", song)
    soundfile.write(tmp_path / "a.mp3", song, RATE)
    soundfile.write(tmp_path / "a.ogg", song, RATE)
    for path in tmp_path.iterdir():
        samples = np.concatenate(list(blocks(path)))
        assert len(samples) == len(song), path.name
        assert np.abs(samples[:, 0]).argmax() / RATE == pytest.approx(1, abs=0.002), path.name


def test_an_mp3_without_an_index_is_read_to_its_end(tmp_path: Path) -> None:
    """Loud at first, so that a length estimated from the first frames is far too short."""
    song = np.concatenate([np.random.default_rng(0).normal(0, 0.3, (RATE * 5, 2)), np.zeros((RATE * 15, 2))])
    data = written(song, format="MP3", bitrate_mode="VARIABLE", compression_level=0.3)
    bare = data[data.index(b"\xff\xfb", data.index(b"Xing")) :]
    tagged = b"ID3\x04\0\0\0\0\x08\x00" + bytes(1024) + bare
    for each in (data, bare, tagged):
        check_ends(io.BytesIO(each))
        (tmp_path / "x").write_bytes(each)
        assert sum(len(block) for block in blocks(tmp_path / "x")) == pytest.approx(len(song), abs=4000)


def _long_flac() -> bytes:
    """20 h of silence, in a small file."""
    data = bytearray(written(np.zeros((RATE, 1)), format="FLAC"))
    frames = 20 * 3600 * RATE
    data[21] = (data[21] & 0xF0) | (frames >> 32)
    data[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(data)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "empty"),
    "text": (lambda: b"RIFF is how this text begins, but it is no audio. " * 50, "not audio"),
    "header only": (lambda: written(np.zeros((0, 1))), "no sound"),
    "half a header": (lambda: written(tone(1))[:30], "cut off"),
    "cut wav": (lambda: written(tone(3))[:100_000], "cut off"),
    "cut flac": (lambda: written(tone(3), format="FLAC")[:-50_000], "cut off"),
    "nan": (with_nan, "NaN"),
    "infinity": (lambda: written(np.full((9000, 1), np.inf), subtype="FLOAT"), "NaN or infinity"),
    "integers written as floats": (
        lambda: written(tone(3) * 32768, subtype="FLOAT"),
        "times full scale.*floats within ±1",
    ),
    "64 channels": (lambda: written(np.zeros((9000, 64))), "64 channels"),
    "1 Hz": (lambda: written(np.zeros((90, 1)), 1), "sample rate"),
    "1 MHz": (lambda: written(np.zeros((9000, 1)), 1_000_000), "sample rate"),
    "20 hours": (_long_flac, "longer than 4 hours"),
    "avi": (lambda: b"RIFF\x00\x10\x00\x00AVI LIST" + bytes(4096), "not audio"),
    "playlist": (lambda: b"#EXTM3U\nfile:///etc/passwd\n", "not audio"),
    "picture": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(100), "not audio"),
    "m4a without anything": (lambda: b"\0\0\0\x18ftypM4A " + bytes(500), "moov"),
    "id3 only": (lambda: b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(100), "not audio"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_by_name(name: str, tmp_path: Path) -> None:
    make, says = HOSTILE[name]
    data = make()
    with pytest.raises(BadAudio, match=says):
        check_ends(io.BytesIO(data))
    (tmp_path / "x.wav").write_bytes(data)
    if name not in ("header only",):
        with pytest.raises(BadAudio, match=says):
            list(segments(tmp_path / "x.wav"))


@pytest.mark.parametrize("first", [1, 2])
def test_an_mp3_that_changes_midway_is_refused(first: int, tmp_path: Path) -> None:
    halves = [written(tone(2, channels=channels), format="MP3") for channels in (first, 3 - first)]
    (tmp_path / "x.mp3").write_bytes(b"".join(halves))
    with pytest.raises(BadAudio, match="changes midway"):
        list(blocks(tmp_path / "x.mp3"))


def test_strange_but_good_files(tmp_path: Path) -> None:
    for samples, rate, kind in (
        (np.array([[0.5]]), RATE, "PCM_16"),
        (tone(2, 96_000, 8), 96_000, "PCM_24"),
        (tone(2) * 31, RATE, "FLOAT"),  # 17 dB over full scale
        (tone(2, 4_000, 1), 4_000, "PCM_U8"),
        (tone(2, 384_000, 1), 384_000, "PCM_16"),
    ):
        data = written(samples, rate, subtype=kind)
        info = check_ends(io.BytesIO(data))
        assert (info.sample_rate, info.channels) == (rate, samples.shape[1])
        (tmp_path / "x").write_bytes(data)
        assert sum(len(block) for block in blocks(tmp_path / "x")) == len(samples)


def test_random_bytes_never_crash(capfd: pytest.CaptureFixture[str]) -> None:
    """Noise after each format's magic bytes, and valid files with some bytes changed.

    `python -m benchmarks.preprocessing fuzz` tries more of them, through the whole of `prepare`.
    """
    source = random.Random(1)
    good = [written(tone(0.3), format="WAV"), written(tone(0.3), format="FLAC"), written(tone(0.3), format="OGG")]
    good.append(written(tone(0.3), format="MP3"))
    heads = [b"RIFF\xff\xff\xff\x7fWAVEfmt ", b"fLaC", b"OggS", b"\xff\xfb\x90", b"\xff\xf1", b"\0\0\0\x1cftypM4A "]
    for number in range(300):
        if number % 2:
            data = heads[number % len(heads)] + source.randbytes(source.randrange(3000))
        else:
            changed = bytearray(good[number % len(good)])
            for _ in range(source.randrange(1, 20)):
                changed[source.randrange(len(changed))] = source.randrange(256)
            data = bytes(changed)
        with suppress(BadAudio):
            check_ends(io.BytesIO(data))
    assert "Traceback" not in capfd.readouterr().err  # printed by a failing callback, which does not raise
