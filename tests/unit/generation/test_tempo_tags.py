"""Tempo and key in a file's tags: read back by FFmpeg, libsndfile and the service's own reader."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from contract import GenerateRequest, OutputFormat
from generation.delivery.plan import plan
from generation.encode import decoded
from generation.provenance import Provenance
from preprocessing.embedded_tags import parse_tags, read_tags
from runners.messages import TrackAnswer

RATE = 48_000
FORMATS: tuple[OutputFormat, ...] = ("wav", "flac", "mp3", "opus", "m4a")


def chunks_of(wav: bytes) -> dict[bytes, bytes]:
    """The chunks of a WAV file, which have to fill it."""
    assert wav[:4] == b"RIFF" and struct.unpack("<I", wav[4:8])[0] == len(wav) - 8
    found, at = {}, 12
    while at < len(wav):
        size = struct.unpack("<I", wav[at + 4 : at + 8])[0]
        found[wav[at : at + 4]] = wav[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    assert at == len(wav)
    return found


def loop_file(output_format: OutputFormat, key: str | None = "F# minor", **more: object) -> bytes:
    request = GenerateRequest(
        prompt="x", loop=True, bpm=128, key=key, duration_seconds=4, output_format=output_format, seed=1, **more
    )
    delivery = plan(request, 128, 600, "ace_step", None)
    assert delivery.loop
    frames = round(delivery.loop.made_seconds * RATE)
    samples = np.random.default_rng(1).normal(0, 0.1, (frames, 2)).astype(np.float32)
    answer = TrackAnswer(pcm=samples.tobytes(), sample_format="float32", sample_rate=RATE, channels=2)
    provenance = Provenance("ace_step", "starter", 1, bpm=128, key=key, bars=delivery.loop.bars)
    return delivery.deliver(answer, provenance).file


@pytest.mark.parametrize("output_format", FORMATS)
def test_tempo_and_key_are_read_back(tmp_path: Path, output_format: OutputFormat) -> None:
    file = loop_file(output_format)
    path = tmp_path / f"loop.{output_format}"
    path.write_bytes(file)
    found = parse_tags(read_tags(path, output_format))
    assert found.bpm == 128
    # iTunes has no key; it is in the comment.
    assert found.key == (None if output_format == "m4a" else "F# minor")
    frames = len(decoded(file, output_format))
    assert 0 <= frames - 4 * RATE * 60 // 64 <= (1023 if output_format == "m4a" else 0)


@pytest.mark.parametrize("output_format", ["wav", "flac", "mp3", "opus"])
def test_the_other_tags_stay(output_format: OutputFormat) -> None:
    with soundfile.SoundFile(io.BytesIO(loop_file(output_format))) as sound:
        assert "bpm=128; key=F# minor; bars=2" in sound.comment and sound.genre == "AI-generated"


def test_a_long_comment_of_opus_is_kept() -> None:
    request = GenerateRequest(prompt="x", loop=True, bpm=60, duration_seconds=4, output_format="opus", seed=1)
    delivery = plan(request, 60, 600, "ace_step", None)
    samples = np.zeros((12 * RATE, 1), np.float32)
    answer = TrackAnswer(pcm=samples.tobytes(), sample_format="float32", sample_rate=RATE, channels=1)
    twins = tuple(f"ada:{'night' * 12}{number}@0123456789abcdef" for number in range(8))
    file = delivery.deliver(answer, Provenance("ace_step", "starter", 1, twins, bpm=60)).file
    with soundfile.SoundFile(io.BytesIO(file)) as sound:
        assert twins[-1] in sound.comment and sound.frames == 4 * RATE


@pytest.mark.parametrize(("key", "root", "flags"), [("F# minor", 66, 0x06), (None, 60, 0x04)])
def test_the_chunks_of_a_loop(key: str | None, root: int, flags: int) -> None:
    file = loop_file("wav", key, time_signature="6")
    chunks = chunks_of(file)
    frames = soundfile.info(io.BytesIO(file)).frames
    sampler = struct.unpack("<9I6I", chunks[b"smpl"])
    assert (sampler[2], sampler[3], sampler[7]) == (20_833, root, 1)
    assert sampler[9:] == (0, 0, 0, frames - 1, 0, 0)
    acid = struct.unpack("<IHHfIHHf", chunks[b"acid"])
    # A bar of 6/8 has three quarter notes: 1.40625 s at 128 bpm.
    assert frames == round(3 * 1.40625 * RATE)
    assert (acid[0], acid[1], acid[4], acid[5], acid[6], acid[7]) == (flags, root, 9, 8, 6, 128)


def test_a_track_that_is_no_loop_has_no_chunks_of_one() -> None:
    delivery = plan(GenerateRequest(prompt="x", bpm=128, bit_depth="24", seed=1), 128, 600, "ace_step", None)
    samples = np.zeros((RATE, 2), np.float32)
    answer = TrackAnswer(pcm=samples.tobytes(), sample_format="float32", sample_rate=RATE, channels=2)
    assert not {b"smpl", b"acid"} & chunks_of(delivery.deliver(answer, Provenance("a", "b", 1)).file).keys()
