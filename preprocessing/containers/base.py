"""The interface between container parsers and decoders: a clean view of the file, and how to decode it."""

from __future__ import annotations

import io
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO, Literal

Range = tuple[int, int]  # start and length, in bytes

# How many bytes too many a header may claim before the file counts as cut off: some writers count the header as well.
MAX_EXCESS_BYTES = 512
MAX_CHUNKS = 20_000  # and atoms, and fragments: a file of empty ones must not keep a core busy
SEARCH_BYTES = 256 * 1024  # how far beyond damage to look for the next valid header
_MAX_OFFSET = 2**40  # bytes; operating systems refuse to seek further


class BadAudio(Exception):
    """The file is not usable audio. The message continues "beat.wav: …"."""


class Damaged(BadAudio):
    """The headers are broken, or the data that they describe is missing."""


class View(io.RawIOBase):
    """Ranges of a file, and bytes between them, as one read-only file."""

    def __init__(self, file: BinaryIO, parts: list[bytes | Range]) -> None:
        self._file, self._at = file, 0
        self._parts = [part for part in parts if (len(part) if isinstance(part, bytes) else part[1])]
        lengths = (len(part) if isinstance(part, bytes) else part[1] for part in self._parts)
        self._starts = list(accumulate(lengths, initial=0))

    @property
    def size(self) -> int:
        return self._starts[-1]

    def again(self) -> View:
        """An independent view of the same bytes, at its start."""
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
            raise ValueError("negative seek position")
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
                if not got:  # the file was truncated meanwhile
                    break
            filled += got
            self._at += got
        return filled


@dataclass(frozen=True)
class Pcm:
    """Raw PCM samples; `subtype` and `endian` as libsndfile names them."""

    view: View
    rate: int
    channels: int
    subtype: str
    endian: Literal["LITTLE", "BIG"]


@dataclass(frozen=True)
class OggFile:
    """A clean Ogg Vorbis or Ogg Opus file, for libsndfile; `exact` if its header's length is reliable."""

    view: View
    exact: bool


@dataclass(frozen=True)
class Frames:
    """Consecutive frames of MPEG audio or AAC.

    Attributes:
        codec: FFmpeg's name of the decoder.
        seconds: an estimate, unless `frames` is known.
        frames: number of frames by the header; None if it does not say.
        delay: samples that encoder and decoder add at the beginning.
        padding: samples that the encoder added at the end, if the stream has as many frames as its header says.
    """

    view: View
    codec: str
    seconds: float
    frames: int | None = None
    delay: int = 0
    padding: int = 0


@dataclass(frozen=True)
class Demuxed:
    """A clean file for FFmpeg; `demuxer` is FFmpeg's name of its format."""

    view: View
    demuxer: str


Stream = Pcm | OggFile | Frames | Demuxed


@dataclass(frozen=True)
class Layout:
    """A file's format, one of preprocessing.decode.FORMATS, and its streams in playing order."""

    format: str
    streams: list[Stream]


def size_of(file: BinaryIO) -> int:
    return file.seek(0, io.SEEK_END)


def read_at(file: BinaryIO, start: int, length: int) -> bytes:
    """Up to `length` bytes from `start`; none beyond the largest possible file."""
    if start > _MAX_OFFSET:
        return b""
    file.seek(start)
    return file.read(length)


def cut_off(expected: int, found: int) -> BadAudio:
    """The error for a file with too few bytes."""
    return BadAudio(f"it is cut off: it should have {expected} bytes, and has {found}; send the whole file")


def damaged(name: str, reason: str) -> Damaged:
    return Damaged(f"it looks like {name}, but {reason}; it may be damaged or cut off")
