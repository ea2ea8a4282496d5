"""AIFF, AIFF-C, and Apple's CAF."""

from __future__ import annotations

import math
import struct
from typing import BinaryIO

from preprocessing.containers.base import BadAudio, Demuxed, Layout, Pcm, Range, View, damaged, read_at
from preprocessing.containers.iff import Form, chunks

_INTEGERS = {1: "PCM_S8", 2: "PCM_16", 3: "PCM_24", 4: "PCM_32"}
_LITTLE = (b"sowt", b"23ni")
_COMPRESSED = {b"fl32": "FLOAT", b"fl64": "DOUBLE", b"ulaw": "ULAW", b"alaw": "ALAW", b"raw ": "PCM_U8"}
_WIDTHS = {b"in24": 3, b"in32": 4, b"23ni": 3}
_COMM = struct.Struct(">hIh")


def is_aiff(head: bytes) -> bool:
    return head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC")


def aiff(file: BinaryIO, start: int) -> Layout:
    """Parse AIFF or AIFF-C from `start`. Raises BadAudio."""
    head = read_at(file, start, 12)
    form = Form(start + 12, "big", b"SSND", end=start + 8 + int.from_bytes(head[4:8], "big"))
    walked = chunks(file, form, (b"COMM",))
    common = walked.found.get(b"COMM", b"")
    if len(common) < 18:
        raise damaged("aiff", "it does not describe its samples (no COMM chunk)")
    if not walked.sound:
        raise damaged("aiff", "it has no samples (no SSND chunk)")
    channels, _, bits = _COMM.unpack_from(common)
    rate = _extended(common[8:18])
    kind = common[18:22] if head[8:12] == b"AIFC" else b"NONE"
    sound = [_without_offset(file, each) for each in walked.sound]
    width = _WIDTHS.get(kind, -(-bits // 8))
    if kind.lower() in _COMPRESSED:
        subtype: str | None = _COMPRESSED[kind.lower()]
    elif kind in (b"NONE", b"none", b"twos", *_LITTLE, *_WIDTHS, b""):
        subtype = _INTEGERS.get(width)
    elif kind == b"ima4":
        return Layout("aiff", [Demuxed(_clean(file, common, sound), "aiff")])
    else:
        subtype = None
    if subtype is None:
        raise BadAudio(f"its encoding cannot be read ({kind!r}, {bits} bits); save it as PCM")
    return Layout("aiff", [Pcm(View(file, [*sound]), rate, channels, subtype, "LITTLE" if kind in _LITTLE else "BIG")])


def _extended(number: bytes) -> int:
    """An 80-bit float as an integer; 0 if it is out of range."""
    exponent = int.from_bytes(number[:2], "big") - 16_383 - 63
    if not -64 <= exponent <= 0:
        return 0
    return round(math.ldexp(int.from_bytes(number[2:], "big"), exponent))


def _without_offset(file: BinaryIO, sound: Range) -> Range:
    """The range after SSND's two numbers; the first of them is the offset of the samples."""
    offset = 8 + int.from_bytes(read_at(file, sound[0], 4), "big")
    if offset > sound[1]:
        offset = min(8, sound[1])
    return sound[0] + offset, sound[1] - offset


def _clean(file: BinaryIO, common: bytes, sound: list[Range]) -> View:
    size = sum(length for _, length in sound)
    if size >= 2**31:
        raise BadAudio("it is too long; cut it")
    packets = size // 34 // max(1, _COMM.unpack_from(common)[0])
    common = common[:2] + packets.to_bytes(4, "big") + common[6:22] + bytes(2)
    body = b"AIFC" + b"COMM" + len(common).to_bytes(4, "big") + common
    body += b"SSND" + (8 + size).to_bytes(4, "big") + bytes(8)
    return View(file, [b"FORM" + (len(body) + size).to_bytes(4, "big") + body, *sound])


_DESCRIPTION = struct.Struct(">d4sIIIII")
_CAF_CODED = (b"alac", b"aac ", b"ima4", b".mp3")


def caf(file: BinaryIO, start: int) -> Layout:
    """Parse CAF from `start`. Raises BadAudio."""
    form = Form(start + 8, "big", b"data", size_bytes=8, align=1)
    walked = chunks(file, form, (b"desc", b"kuki", b"pakt"), longest=2**24)
    description = walked.found.get(b"desc", b"")
    if len(description) < _DESCRIPTION.size:
        raise damaged("caf", "it does not describe its samples (no desc chunk)")
    if not walked.sound:
        raise damaged("caf", "it has no samples (no data chunk)")
    rate, kind, flags, _, _, channels, bits = _DESCRIPTION.unpack_from(description)
    sound: list[Range] = [(at + 4, length - 4) for at, length in walked.sound if length > 4]  # after the edit count
    floats = {32: "FLOAT", 64: "DOUBLE"}
    law = {b"ulaw": "ULAW", b"alaw": "ALAW"}.get(kind)
    subtype = law or (floats.get(bits) if flags & 1 else _INTEGERS.get(-(-bits // 8)))
    if (kind == b"lpcm" or law) and subtype:
        hertz = round(rate) if 0 < rate < 1e9 else 0
        return Layout("caf", [Pcm(View(file, [*sound]), hertz, channels, subtype, "LITTLE" if flags & 2 else "BIG")])
    if kind not in _CAF_CODED:
        raise BadAudio(f"its encoding cannot be read ({kind!r}, {bits} bits); save it as PCM")
    packets = walked.found.get(b"pakt", b"")
    if int.from_bytes(packets[:8], "big") > len(packets):  # FFmpeg would allocate as many as it claims
        raise damaged("caf", "its packet table is wrong")
    parts = [b"caff\0\1\0\0"]
    for name in (b"desc", b"kuki", b"pakt"):
        if content := walked.found.get(name):
            parts.append(name + len(content).to_bytes(8, "big") + content)
    parts.append(b"data" + (4 + sum(length for _, length in sound)).to_bytes(8, "big") + bytes(4))
    return Layout("caf", [Demuxed(View(file, [b"".join(parts), *sound]), "caf")])
