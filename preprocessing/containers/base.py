"""What header walks give to decoders: a clean view of the file, and how to decode it."""

from __future__ import annotations

import io
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO, Literal

Range = tuple[int, int]  # start and length, in bytes

# What a header may promise too much before the file counts as cut off: writers often count their own header in.
SLACK = 512
# Of chunks, atoms and fragments; a file of nothing but empty ones must not keep a core busy.
MAX_CHUNKS = 20_000
# How far after a damaged place the next good one is looked for.
SEARCHED = 256 * 1024
_FARTHEST = 2**40


class BadAudio(Exception):
    """The bytes are not audio that can be used. The message completes the sentence "beat.wav: …"."""


class Damaged(BadAudio):
    """Its headers are broken, or what they name is missing."""


class View(io.RawIOBase):
    """Ranges of a file, and bytes between them, as one file."""

    def __init__(self, file: BinaryIO, parts: list[bytes | Range]) -> None:
        self._file, self._at = file, 0
        self._parts = [part for part in parts if (len(part) if isinstance(part, bytes) else part[1])]
        lengths = (len(part) if isinstance(part, bytes) else part[1] for part in self._parts)
        self._starts = list(accumulate(lengths, initial=0))

    @property
    def size(self) -> int:
        return self._starts[-1]

    def again(self) -> View:
        """The same, at its beginning."""
        return View(self._file, self._parts)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = (0, self._at, self.size)[whence]
        if base + offset < 0:
            raise ValueError("a place before the beginning")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        wanted = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(wanted) and self._at < self.size:
            index = bisect_right(self._starts, self._at) - 1
            inside = self._at - self._starts[index]
            part = self._parts[index]
            place = wanted[filled : filled + self._starts[index + 1] - self._at]
            if isinstance(part, bytes):
                place[:] = part[inside : inside + len(place)]
                got = len(place)
            else:
                self._file.seek(part[0] + inside)
                got = self._file.readinto(place)  # type: ignore[attr-defined]
                if not got:  # the file has become shorter
                    break
            filled += got
            self._at += got
        return filled


@dataclass(frozen=True)
class Pcm:
    """Samples as they are. `subtype` and `endian` are libsndfile's words."""

    view: View
    rate: int
    channels: int
    subtype: str
    endian: Literal["LITTLE", "BIG"]


@dataclass(frozen=True)
class Native:
    """A clean Ogg Vorbis or Ogg Opus file, for libsndfile. `exact`: its header's length can be relied on."""

    view: View
    exact: bool


@dataclass(frozen=True)
class Frames:
    """Frames of MPEG audio or AAC one after the other, for FFmpeg's decoder named `codec`.

    `seconds` is an estimate unless `frames` are known. `delay` and `padding` are the samples that the encoder added at
    the beginning (its decoder's included) and, if the stream has as many `frames` as its header counts, at the end.
    """

    view: View
    codec: str
    seconds: float
    frames: int | None = None
    delay: int = 0
    padding: int = 0


@dataclass(frozen=True)
class Demuxed:
    """A clean file for FFmpeg's demuxer of that name."""

    view: View
    demuxer: str


Stream = Pcm | Native | Frames | Demuxed


@dataclass(frozen=True)
class Layout:
    """`format`: one of preprocessing.decode.FORMATS. `streams` are played one after the other."""

    format: str
    streams: list[Stream]


def size_of(file: BinaryIO) -> int:
    return file.seek(0, io.SEEK_END)


def read_at(file: BinaryIO, start: int, length: int) -> bytes:
    """Up to `length` bytes; none from places where no file can have any, to which systems refuse to seek."""
    if start > _FARTHEST:
        return b""
    file.seek(start)
    return file.read(length)


def cut_off(wanted: int, found: int) -> BadAudio:
    """Both in bytes."""
    return BadAudio(f"it is cut off: it should have {wanted} bytes, and has {found}; send the whole file")


def damaged(name: str, reason: str) -> Damaged:
    return Damaged(f"it looks like {name}, but {reason}; it may be damaged or cut off")
