"""Any audio file as blocks of samples. The bytes decide what it is, not its name.

Headers are walked by preprocessing.containers, which leaves a library the sound and nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from preprocessing.containers import layout
from preprocessing.containers.base import BadAudio, Layout, Pcm, damaged
from preprocessing.decoders import ERRORS, Decoder, Samples, decoder
from preprocessing.flaws import FlawMeter

__all__ = ["AudioInfo", "BadAudio", "Samples", "blocks", "check_bytes", "check_file", "probe"]

FORMATS = ("wav", "aiff", "caf", "flac", "ogg", "opus", "mp3", "m4a", "aac")
MAX_SECONDS = 4 * 3600
MAX_CHANNELS = 32
RATES = range(4_000, 384_001)
# The longest file at twice the usual rate, in stereo: a small file of silence must not keep a core busy for an hour.
MAX_SAMPLES = MAX_SECONDS * 96_000 * 2
# 18 dB over full scale, which floats may be; what is louder was not meant as it is written.
MAX_PEAK = 8.0


@dataclass(frozen=True)
class AudioInfo:
    """`format` is one of FORMATS, and the usual file extension.

    `seconds` is what the file says of itself; for an MP3 or AAC without an index, an estimate. `warnings` says what is
    wrong with the sound, as far as it was looked at.
    """

    format: str
    sample_rate: int
    channels: int
    seconds: float
    warnings: tuple[str, ...] = ()


def probe(path: Path) -> AudioInfo:
    """What the file is, from its header. Raises BadAudio if it is nothing that can be used."""
    with path.open("rb", buffering=0) as file, _opened(file) as song:
        return song.info()


def check_bytes(data: bytes) -> AudioInfo:
    """The same for bytes, of which the first and the last second are decoded as well. Quick, whatever the length."""
    return _check_ends(io.BytesIO(data))


def check_file(file: io.FileIO) -> AudioInfo:
    """The same for a file."""
    return _check_ends(file)  # type: ignore[arg-type]


def blocks(path: Path) -> Iterator[Samples]:
    """The file's samples, (up to 65,536 or so, channels) each. Raises BadAudio at the first thing that is wrong."""
    with path.open("rb", buffering=0) as file, _opened(file) as song:
        yield from song.blocks()


def _check_ends(file: BinaryIO) -> AudioInfo:
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


class _Song:
    """One stream of the file after the other. Decoders are opened when they are needed."""

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
        return AudioInfo(self._format, self.rate, self.channels, seconds, warnings)

    def blocks(self) -> Iterator[Samples]:
        """Each block looked at: no NaN, nothing too loud, and not longer than can be."""
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
            raise BadAudio("its sample rate or number of channels changes on the way; save it as a WAV file")
        return other


@contextmanager
def _opened(file: BinaryIO) -> Iterator[_Song]:
    """The file's sound, within the limits; what any library raises inside the block becomes BadAudio."""
    found = layout(file)
    try:
        yield _Song(found)
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
    if peak <= MAX_PEAK:  # written so that NaN fails as well
        return
    if np.isfinite(block).all():
        raise BadAudio(
            f"its samples go up to {peak:.3g} times full scale; at most {MAX_PEAK:g} times can be used: export it "
            "again with floats within ±1, or as 24-bit integers"
        )
    raise BadAudio("it has samples that are no numbers (NaN or infinity); export it again")
