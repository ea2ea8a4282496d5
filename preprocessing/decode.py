"""Decode any audio file to blocks of samples. The format is recognised by content, not by name.

preprocessing.containers parses the headers, so that decoding libraries see the audio stream and nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocessing.containers import layout
from preprocessing.containers.base import BadAudio, Layout, Pcm, damaged
from preprocessing.decoders import ERRORS, Decoder, SampleFormat, Samples, decoder
from preprocessing.flaws import FlawMeter

FORMATS = ("wav", "aiff", "caf", "flac", "ogg", "opus", "mp3", "m4a", "aac")
MAX_SECONDS = 4 * 3600
MAX_CHANNELS = 32
RATES = range(4_000, 384_001)
# The longest file at 96 kHz in stereo: a small file of silence must not keep a core busy for an hour.
MAX_SAMPLES = MAX_SECONDS * 96_000 * 2
# 18 dB above full scale. Floats may exceed full scale, but louder ones are integers written as floats.
MAX_PEAK = 8.0


@dataclass(frozen=True)
class AudioInfo:
    """The format and the form of an audio file.

    Attributes:
        format: one of FORMATS; also the usual file extension.
        seconds: by the file's header; for an MP3 or AAC without an index, an estimate.
        warnings: one sentence for each flaw in the decoded part.
        sample_format: the smallest one that holds its samples without loss.
    """

    format: str
    sample_rate: int
    channels: int
    seconds: float
    warnings: tuple[str, ...] = ()
    sample_format: SampleFormat = "int16"


def probe(path: Path) -> AudioInfo:
    """Read the file's header. Raises BadAudio if the file cannot be used."""
    with path.open("rb", buffering=0) as file, _opened(file) as song:
        return song.info()


def blocks(path: Path) -> Iterator[Samples]:
    """The file's samples, (up to about BLOCK_FRAMES, channels) each. Raises BadAudio at the first fault."""
    with path.open("rb", buffering=0) as file, _opened(file) as song:
        yield from song.blocks()


@contextmanager
def decoding(file: Path | io.FileIO) -> Iterator[tuple[AudioInfo, Iterator[Samples]]]:
    """The file's form and its samples, as `probe` and `blocks` have them. Raises BadAudio."""
    source = nullcontext(file) if isinstance(file, io.FileIO) else file.open("rb", buffering=0)
    with source as opened, _opened(opened) as song:
        yield song.info(), song.blocks()


def check_ends(file: io.FileIO | io.BytesIO) -> AudioInfo:
    """Read the header and decode the first and the last second. Raises BadAudio. Quick at any length."""
    with _opened(file) as song:
        flaws = FlawMeter(song.channels)
        first = next(song.blocks(), None)
        if first is None:
            raise BadAudio("there is no sound in it")
        flaws.add(first)
        last = song.last().check_end()
        _check_samples(last)
        flaws.add(last)
        return song.info(flaws.flaws().warnings())


class _AudioFile:
    """The streams of a file, decoded one after the other. Each decoder is opened when it is needed."""

    def __init__(self, found: Layout) -> None:
        self._format, self._streams = found.format, found.streams
        first = found.streams[0]
        if isinstance(first, Pcm):
            _check_form(first.rate, first.channels)
        self.first = decoder(first)
        self.rate, self.channels = self.first.sample_rate, self.first.channels
        _check_form(self.rate, self.channels)
        if self.first.exact:
            _check_length(self.first.seconds, self.rate, self.channels)

    def last(self) -> Decoder:
        return self.first if len(self._streams) == 1 else self._same(decoder(self._streams[-1]))

    def info(self, warnings: tuple[str, ...] = ()) -> AudioInfo:
        seconds = sum(each.seconds for each in self._decoders())
        return AudioInfo(self._format, self.rate, self.channels, seconds, warnings, self.first.sample_format)

    def blocks(self) -> Iterator[Samples]:
        """The samples, checked for length, level and NaN."""
        done = 0
        for each in self._decoders():
            for block in each.blocks():
                done += len(block)
                _check_length(done / self.rate, self.rate, self.channels)
                _check_samples(block)
                if len(block):
                    yield block

    def _decoders(self) -> Iterator[Decoder]:
        yield self.first
        for stream in self._streams[1:]:
            yield self._same(decoder(stream))

    def _same(self, other: Decoder) -> Decoder:
        if (other.sample_rate, other.channels) != (self.rate, self.channels):
            raise BadAudio("its sample rate or number of channels changes midway; save it as a WAV file")
        return other


@contextmanager
def _opened(file: io.FileIO | io.BytesIO) -> Iterator[_AudioFile]:
    """The audio of a file. Any exception of a decoding library inside the block becomes BadAudio."""
    found = layout(file)  # type: ignore[arg-type]
    try:
        yield _AudioFile(found)
    except ERRORS as error:
        raise damaged(found.format, "cannot be decoded") from error


def _check_form(rate: int, channels: int) -> None:
    if not 1 <= channels <= MAX_CHANNELS:
        raise BadAudio(f"it has {channels} channels; at most {MAX_CHANNELS} can be read")
    if rate not in RATES:
        raise BadAudio(f"its sample rate is {rate} Hz; from {RATES[0]} to {RATES[-1]} Hz can be read")


def _check_length(seconds: float, rate: int, channels: int) -> None:
    if seconds > MAX_SECONDS:
        raise BadAudio(f"it is longer than {MAX_SECONDS // 3600} hours; cut it")
    if seconds * rate * channels > MAX_SAMPLES:
        raise BadAudio("it has too many samples (length × rate × channels); cut it, or save it as 48 kHz stereo")


def _check_samples(block: Samples) -> None:
    peak = max(block.max(initial=0), -block.min(initial=0))
    if peak <= MAX_PEAK:  # false for NaN
        return
    if np.isfinite(block).all():
        raise BadAudio(
            f"its samples go up to {peak:.3g} times full scale; at most {MAX_PEAK:g} times can be used: export it "
            "again with floats within ±1, or as 24-bit integers"
        )
    raise BadAudio("it has samples that are not numbers (NaN or infinity); export it again")
