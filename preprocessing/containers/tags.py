"""Tags before and after the audio, to be skipped.

Decoders never see them: an ID3v2 frame may inflate to gigabytes. preprocessing.embedded_tags reads them in a sandbox.
"""

from __future__ import annotations

from typing import BinaryIO

from preprocessing.containers.base import read_at

_MAX_TAGS = 64
_MAX_ZEROS = 2**24  # bytes
_BLOCK_BYTES = 2**16


def first_byte(file: BinaryIO, size: int) -> int:
    """The offset after leading ID3v2 tags, APE tags and zeros."""
    at = 0
    for _ in range(_MAX_TAGS):
        head = read_at(file, at, 32)
        if head[:3] == b"ID3" and len(head) >= 10 and head[3] < 0x10:
            end = at + 10 + _seven_bits(head[6:10]) + (10 if head[5] & 0x10 else 0)
            if end > size:  # a wrong size: search the rest for frames
                return at + 10
            at = end
        elif head[:8] == b"APETAGEX" and len(head) == 32:
            at += 32 + int.from_bytes(head[12:16], "little")
        elif head[:4] == bytes(4):
            at = _after_zeros(file, at, size)
        else:
            break
    return at


def last_byte(file: BinaryIO, size: int) -> int:
    """The offset of trailing ID3v1, APE, Lyrics3 and ID3v2 tags."""
    end = size
    for _ in range(_MAX_TAGS):
        tail = read_at(file, max(0, end - 128), min(128, end))
        if tail[:3] == b"TAG" and len(tail) == 128:
            end -= 128
        elif tail[-32:-24] == b"APETAGEX":
            length = int.from_bytes(tail[-20:-16], "little")
            end -= length + (32 if tail[-9] & 0x80 else 0)  # the highest flag: it has a header, too
        elif tail[-9:] == b"LYRICS200" and tail[-15:-9].isdigit():
            end -= int(tail[-15:-9]) + 15
        elif tail[-10:-7] == b"3DI":
            end -= _seven_bits(tail[-4:]) + 20
        else:
            break
        if end <= 0:
            return size
    return end


def _seven_bits(number: bytes) -> int:
    return sum((byte & 127) << shift for byte, shift in zip(number, (21, 14, 7, 0), strict=True))


def _after_zeros(file: BinaryIO, at: int, size: int) -> int:
    for start in range(at, min(size, at + _MAX_ZEROS), _BLOCK_BYTES):
        block = read_at(file, start, _BLOCK_BYTES)
        rest = block.lstrip(b"\0")
        if rest:
            # The size of an MP4 atom begins with zeros of its own.
            found = start + len(block) - len(rest)
            return next((found - back for back in (3, 2, 1) if _is_atom(file, found - back)), found)
    return size


def _is_atom(file: BinaryIO, at: int) -> bool:
    return at >= 0 and read_at(file, at + 4, 4) == b"ftyp"
