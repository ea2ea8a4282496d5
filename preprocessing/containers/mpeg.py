"""MPEG audio (Layers I to III) and AAC in ADTS: the first frame, the last one, and their number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO

from preprocessing.containers.base import SEARCH_BYTES, BadAudio, Frames, View, read_at

_BITRATES = {  # kbit/s, by (MPEG-1, layer)
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG1_RATES = (44_100, 48_000, 32_000)
_AAC_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
_SYNC = re.compile(rb"\xff[\xe0-\xff][^\xf0-\xff]")
_MIN_CONSECUTIVE_FRAMES = 3  # fewer may be a coincidence
_DECODER_DELAY = 529  # samples; the same in every decoder of Layer III
_MEAN_FRAME_BYTES = range(20, 2_900)  # a frame count that implies another mean is wrong
_FREE_FORMAT_BYTES = range(24, 8_192)


@dataclass(frozen=True)
class _Frame:
    """A frame header.

    Attributes:
        kind: decoder, sample rate in Hz, and layer; the same for all frames of a stream.
        bytes: length of the frame; 0 in free format.
        side: bytes of side information, which precede a Xing header.
    """

    kind: tuple[str, int, int]
    bytes: int
    samples: int
    side: int = 0

    @property
    def seconds(self) -> float:
        return self.samples / self.kind[1]


def mpeg(file: BinaryIO, start: int, end: int) -> Frames:
    """The frames between `start` and `end`, after at most SEARCH_BYTES of other data.

    Raises:
        BadAudio: there are none, or they are in free format.
    """
    window = read_at(file, start, min(SEARCH_BYTES + 3 * 8192, end - start))
    at, first = _first(window, end - start)
    view_start = start + at
    codec, rate, _ = first.kind
    frames, delay, padding = _index(window[at : at + max(first.bytes, 256)], first)
    if frames is not None:
        view_start += first.bytes
    rest = end - view_start
    if frames and rest // frames not in _MEAN_FRAME_BYTES:
        frames = None
    seconds = (frames or rest / _mean_bytes(window, at, first)) * first.seconds
    delay = min(delay, round(seconds * rate))
    return Frames(View(file, [(view_start, rest)]), codec, seconds, frames, delay, padding)


def _mean_bytes(window: bytes, start: int, first: _Frame) -> float:
    """Mean length of the frames in the window."""
    at, count = start, 0
    while (frame := _header(window, at)) and frame.kind == first.kind and frame.bytes:
        at, count = at + frame.bytes, count + 1
    return (at - start) / count if count else first.bytes


def _first(window: bytes, length: int) -> tuple[int, _Frame]:
    """Offset and header of the first frame that other frames follow."""
    for found in _SYNC.finditer(window[:SEARCH_BYTES]):
        at = found.start()
        frame = _header(window, at)
        if frame is None:
            continue
        if not frame.bytes:
            if _is_free(window, at, frame):
                raise BadAudio("it is an MP3 in free format, which is not supported; encode it at a usual bitrate")
            continue
        if _is_followed(window, at, frame, length):
            return at, frame
    first = _header(window, 0)
    if first is None or not first.bytes:
        raise BadAudio("it is not audio that can be read; send WAV, FLAC, MP3, Ogg, Opus, AIFF or M4A")
    return 0, first


def _is_followed(window: bytes, at: int, frame: _Frame, length: int) -> bool:
    following: _Frame | None = frame
    for _ in range(_MIN_CONSECUTIVE_FRAMES):
        if following is None or following.kind != frame.kind or not following.bytes:
            return False
        at += following.bytes
        if at + 4 > length:
            return at <= length
        following = _header(window, at)
    return True


def _is_free(window: bytes, at: int, frame: _Frame) -> bool:
    """Whether free-format frames of one length, give or take a byte of padding, follow."""
    mark = window[at : at + 2]
    place = at
    for _ in range(64):
        place = window.find(mark, place + 1, at + _FREE_FORMAT_BYTES.stop)
        if place < 0:
            return False
        step = place - at
        again = (_header(window, place + step + more) for more in (-1, 0, 1))
        beside = _header(window, place)
        if (
            step in _FREE_FORMAT_BYTES
            and _is_same_free(beside, frame)
            and any(_is_same_free(each, frame) for each in again)
        ):
            return True
    return False


def _is_same_free(other: _Frame | None, frame: _Frame) -> bool:
    return other is not None and (other.kind, other.bytes) == (frame.kind, 0)


def _header(data: bytes, at: int) -> _Frame | None:
    """The frame header at an offset, if there is a valid one."""
    head = data[at : at + 7]
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:
        return _adts(head)
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    row, column = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or row == 15 or column == 3:
        return None
    first = version == 3
    rate = _MPEG1_RATES[column] >> (0, 1, 2)[(3, 2, 0).index(version)]
    bitrate = _BITRATES[first, layer][row] * 1000
    padding = head[2] >> 1 & 1
    samples = 384 if layer == 1 else 1152 if layer == 2 or first else 576
    length = (12 * bitrate // rate + padding) * 4 if layer == 1 else samples // 8 * bitrate // rate + padding
    mono = head[3] >> 6 == 3
    side = (17 if mono else 32) if first else (9 if mono else 17)
    return _Frame((f"mp{layer}float", rate, layer), length if bitrate else 0, samples, side)


def _adts(head: bytes) -> _Frame | None:
    column = head[2] >> 2 & 15
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    if column >= len(_AAC_RATES) or length < 7:
        return None
    return _Frame(("aac", _AAC_RATES[column], 0), length, 1024 * (1 + (head[6] & 3)))


def _index(frame: bytes, header: _Frame) -> tuple[int | None, int, int]:
    """The Xing, Info or VBRI header in the first frame, which then holds no audio.

    Returns:
        Number of frames (0 if unknown, None without such a header), encoder delay and padding in samples.
    """
    if header.kind[2] != 3:
        return None, 0, 0
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[50:54], "big"), 0, 0
    at = next((place for place in (4, 6) if frame[place + header.side :][:4] in (b"Xing", b"Info")), None)
    if at is None:
        return None, 0, 0
    content = frame[at + header.side + 4 :]
    flags = int.from_bytes(content[:4], "big")
    count = int.from_bytes(content[4:8], "big") if flags & 1 else 0
    after = 4 + (4 if flags & 1 else 0) + (4 if flags & 2 else 0) + (100 if flags & 4 else 0) + (4 if flags & 8 else 0)
    lame = content[after : after + 24]
    if len(lame) < 24 or not lame[:4].isalnum():
        return count, 0, 0
    both = int.from_bytes(lame[21:24], "big")
    return count, (both >> 12) + _DECODER_DELAY, max(0, (both & 0xFFF) - _DECODER_DELAY)
