"""WAV in all its forms: RIFF, RIFX (big-endian), RF64 and BW64 (over 4 GB), Wave64."""

from __future__ import annotations

import math
import struct
from typing import BinaryIO, Literal

from preprocessing.containers.base import BadAudio, Demuxed, Layout, Pcm, Stream, View, damaged, read_at
from preprocessing.containers.iff import Chunks, Form, chunks
from preprocessing.containers.mpeg import mpeg

_PCM = {
    (1, 1): "PCM_U8",
    (1, 2): "PCM_16",
    (1, 3): "PCM_24",
    (1, 4): "PCM_32",
    (3, 4): "FLOAT",
    (3, 8): "DOUBLE",
    (6, 1): "ALAW",
    (7, 1): "ULAW",
}
_MPEG = (0x50, 0x55)
_FFMPEG = (0x02, 0x11, 0x31, 0x01)  # Microsoft's and IMA's ADPCM, GSM 6.10, and 64-bit integers
_EXTENSIBLE = 0xFFFE
_MAX_SONGS = 500
_ACID_BYTES = 24
_ONE_SHOT = 1


def is_wav(head: bytes) -> bool:
    return (head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE") or (
        head[:4] == b"riff" and head[24:28] == b"wave"
    )


def wav(file: BinaryIO, start: int) -> Layout:
    """Parse the WAV file at `start`, and others concatenated to it. Raises BadAudio."""
    streams: list[Stream] = []
    begin: int | None = start
    while begin is not None and len(streams) < _MAX_SONGS:
        stream, begin = _song(file, begin)
        streams.append(stream)
    return Layout("wav", streams)


def _song(file: BinaryIO, start: int) -> tuple[Stream, int | None]:
    """The samples of one file, and the start of the next one, if another follows."""
    form = _form(file, start)
    return _stream(file, chunks(file, form, (b"fmt ", b"ds64")), form.order), form.stop


def acid_tempo(file: BinaryIO) -> float | None:
    """The tempo in the `acid` chunk, which loop libraries write; None for a one-shot sample. Raises BadAudio."""
    form = _form(file, 0)
    content = chunks(file, form, (b"acid", b"ds64"), recover=False).found.get(b"acid", b"")
    if len(content) < _ACID_BYTES or int.from_bytes(content[:4], form.order) & _ONE_SHOT:
        return None
    (tempo,) = struct.unpack_from("<f" if form.order == "little" else ">f", content, _ACID_BYTES - 4)
    return round(float(tempo), 3) if math.isfinite(tempo) else None


def _form(file: BinaryIO, start: int) -> Form:
    """How the chunks of the file at `start` are arranged."""
    head = read_at(file, start, 12)
    order: Literal["little", "big"] = "big" if head[:4] == b"RIFX" else "little"
    if head[:4] == b"riff":
        return Form(start + 40, order, b"data", id_bytes=16, size_bytes=8, align=8, inclusive=True)
    end = start + 8 + int.from_bytes(head[4:8], order)
    follows = end > start + 12 and is_wav(read_at(file, end, 32))
    return Form(start + 12, order, b"data", end=end, stop=end if follows else None)


def _stream(file: BinaryIO, walked: Chunks, order: Literal["little", "big"]) -> Stream:
    if not walked.sound:
        raise damaged("wav", "it has no samples (no data chunk)")
    format = walked.found.get(b"fmt ", b"")
    if len(format) < 14:
        raise damaged("wav", "it does not describe its samples (no fmt chunk)")
    tag, channels, rate, _, align, bits = (
        int.from_bytes(format[at:end], order) for at, end in ((0, 2), (2, 4), (4, 8), (8, 12), (12, 14), (14, 16))
    )
    if tag == _EXTENSIBLE and len(format) >= 26:
        tag = int.from_bytes(format[24:26], order)
    width = align // channels if channels and not align % channels else 0
    if not bits <= 8 * width <= 64:  # if they contradict each other, the bits are more often right
        width = -(-bits // 8)
    view = View(file, [*walked.sound])
    if subtype := _PCM.get((tag, width or 1)):
        return Pcm(view, rate, channels, subtype, "BIG" if order == "big" else "LITTLE")
    if tag in _MPEG:
        return mpeg(view, 0, view.size)  # type: ignore[arg-type]
    if tag in _FFMPEG and width <= 8:
        return Demuxed(_clean(file, walked, order, view.size), "wav")
    raise BadAudio(f"its encoding cannot be read (WAV format {tag:#x}, {bits} bits); save it as PCM")


def _clean(file: BinaryIO, walked: Chunks, order: Literal["little", "big"], size: int) -> View:
    """A WAV file of the format and data chunks only."""
    if size >= 2**31:
        raise BadAudio("it is too long; cut it")
    format = walked.found[b"fmt "]
    format = format + bytes(len(format) % 2)
    magic = b"RIFX" if order == "big" else b"RIFF"

    def number(value: int) -> bytes:
        return value.to_bytes(4, order)

    head = magic + number(4 + 8 + len(format) + 8 + size) + b"WAVE" + b"fmt " + number(len(format)) + format
    return View(file, [head + b"data" + number(size), *walked.sound])
