"""Converts a client's recording for a model: as FLAC at the model's rate, and as the samples that the file holds."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import soundfile
import soxr

from core.disk import temporary_space
from preprocessing.containers.base import BadAudio
from preprocessing.decode import decoding
from preprocessing.decoders import BLOCK_FRAMES, SampleFormat, Samples
from preprocessing.segment import mix

MAX_RECORDING_CHANNELS = 2
MIN_RECORDING_SECONDS = 0.1
# Ten minutes of stereo at 96 kHz: a track that keeps its source is encoded in memory, at the source's sample rate.
MAX_KEPT_SAMPLES = 600 * 96_000 * 2
EXCERPT_SECONDS = 10
_FLAC_SUBTYPES: dict[SampleFormat, str] = {"int16": "PCM_16", "int24": "PCM_24", "float32": "PCM_24"}


@dataclass(frozen=True)
class Target:
    """What a recording is converted to.

    Attributes:
        sample_rate: the model's, in Hz.
        channels: the model's.
        max_seconds: a longer recording is refused.
        before: seconds of silence to put in front of it.
        after: seconds of silence to put behind it.
        excerpt: of a recording of more than thirty seconds, take ten of its front, from its first third on, and of its
            end, as models do that hear a reference.
    """

    sample_rate: int
    channels: int
    max_seconds: float
    before: float = 0.0
    after: float = 0.0
    excerpt: bool = False


@dataclass(frozen=True)
class Converted:
    """The form of a recording that was converted.

    Attributes:
        sample_rate: the file's, in Hz.
        channels: the file's.
        sample_format: the smallest one that holds the file's samples.
        frames: the file's length.
        peak: what the FLAC's samples were divided by, at least 1: FLAC cannot hold samples over full scale.
    """

    sample_rate: int
    channels: int
    sample_format: SampleFormat
    frames: int
    peak: float

    @property
    def seconds(self) -> float:
        return self.frames / self.sample_rate


def convert(file: Path | io.FileIO, target: Target, flac: io.FileIO, kept: io.FileIO | None = None) -> Converted:
    """Convert a recording in constant memory.

    Args:
        flac: an empty file; it gets a FLAC file of the model's form, with the silence of `target`.
        kept: an empty file; it gets the file's own samples, float32, (frames, channels).

    Raises:
        BadAudio: the file cannot be used.
        Refusal: 507, the disk for temporary files is full.
    """
    with temporary_space(), tempfile.TemporaryFile() as mixed, decoding(file) as (info, blocks):
        if info.channels > MAX_RECORDING_CHANNELS:
            raise BadAudio(f"it has {info.channels} channels; send it in mono or stereo")
        stream = soxr.ResampleStream(info.sample_rate, target.sample_rate, target.channels, quality="HQ")
        frames, peak = 0, 1.0
        end = np.empty((0, target.channels), np.float32)
        for block, last in _marked(blocks):
            frames += len(block)
            if frames > target.max_seconds * info.sample_rate + 1:
                raise BadAudio(
                    f"it is longer than the {target.max_seconds:g} s that can be used; cut it, or ask for less"
                )
            if kept is not None:
                if frames * info.channels > MAX_KEPT_SAMPLES:
                    raise BadAudio("it has too many samples (length × rate × channels); cut it, or save it as 48 kHz")
                kept.write(block.tobytes())
            part = mix(block, target.channels) if len(block) else end
            if info.sample_rate != target.sample_rate:
                part = stream.resample_chunk(np.ascontiguousarray(part), last=last)
            peak = max(peak, float(np.abs(part).max(initial=0)))
            mixed.write(part.tobytes())
        converted = Converted(info.sample_rate, info.channels, info.sample_format, frames, peak)
        if converted.seconds < MIN_RECORDING_SECONDS:
            raise BadAudio(f"it is {converted.seconds:.2g} s long; at least {MIN_RECORDING_SECONDS:g} s can be used")
        _write_flac(flac, mixed, converted, target)
    return converted


def _marked(blocks: Iterator[Samples]) -> Iterator[tuple[Samples, bool]]:
    """Each block with whether it is the last one, which is empty."""
    for block in blocks:
        yield block, False
    yield np.empty((0, 1), np.float32), True


def _write_flac(flac: io.FileIO, mixed: IO[bytes], converted: Converted, target: Target) -> None:
    rate, channels = target.sample_rate, target.channels
    total = round((target.before + converted.seconds + target.after) * rate)
    silence = round(target.before * rate)
    subtype = _FLAC_SUBTYPES[converted.sample_format]
    with soundfile.SoundFile(flac, "w", rate, channels, subtype, format="FLAC") as file:
        if target.excerpt:
            for start, frames in _excerpt(mixed.seek(0, io.SEEK_END) // (channels * 4), rate):
                _copy(mixed, file, start, frames, converted.peak)
            return
        _write_silence(file, silence)
        _write_silence(file, _copy(mixed, file, 0, total - silence, converted.peak))


def _excerpt(frames: int, rate: int) -> list[tuple[int, int]]:
    """The parts of a recording that a reference has: the first frame of each, and its number of frames."""
    part = EXCERPT_SECONDS * rate
    if frames <= 3 * part:
        return [(0, frames)]
    return [(0, part), (frames // 3, part), (frames - part, part)]


def _copy(mixed: IO[bytes], file: soundfile.SoundFile, start: int, frames: int, peak: float) -> int:
    """Write frames of the mixed recording to the file. Returns how many it lacks."""
    size = file.channels * 4
    mixed.seek(start * size)
    while frames and (data := mixed.read(min(frames, BLOCK_FRAMES) * size)):
        samples = np.frombuffer(data, np.float32).reshape(-1, file.channels)
        file.write(samples / np.float32(peak))
        frames -= len(samples)
    return frames


def _write_silence(file: soundfile.SoundFile, frames: int) -> None:
    block = np.zeros((min(frames, BLOCK_FRAMES), file.channels), np.float32)
    while frames:
        file.write(block[:frames])
        frames -= len(block[:frames])
