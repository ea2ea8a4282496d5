"""Chunks of IFF and its descendants: RIFF, RIFX, RF64, Wave64, AIFF and CAF. Wrong sizes are corrected."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

from preprocessing.containers.base import (
    MAX_CHUNKS,
    MAX_EXCESS_BYTES,
    SEARCH_BYTES,
    BadAudio,
    Range,
    cut_off,
    read_at,
    size_of,
)

# Writers to a pipe, which do not know the size, write one from here on.
_MIN_UNKNOWN_SIZE = 0x7FFF_0000


@dataclass(frozen=True)
class Form:
    """How a container arranges its chunks.

    Attributes:
        sound: id of the chunk with the samples.
        inclusive: whether a size includes the chunk's header.
        end: where the container ends by its own header; None if that is unknown.
        stop: offset that its chunks cannot exceed; None for the end of the file.
    """

    start: int
    order: Literal["little", "big"]
    sound: bytes
    id_bytes: int = 4
    size_bytes: int = 4
    align: int = 2
    inclusive: bool = False
    end: int | None = None
    stop: int | None = None

    @property
    def header(self) -> int:
        return self.id_bytes + self.size_bytes


@dataclass
class Chunks:
    """The first chunk of each wanted id, and the ranges of all chunks with samples."""

    found: dict[bytes, bytes] = field(default_factory=dict)
    sound: list[Range] = field(default_factory=list)


def chunks(
    file: BinaryIO, form: Form, wanted: Collection[bytes], longest: int = 65_536, recover: bool = True
) -> Chunks:
    """Walk the chunks from `form.start` to the end.

    Args:
        wanted: ids of the chunks to return.
        longest: bytes of each that are kept.
        recover: whether to search for wanted chunks that a wrong size has hidden.

    Raises:
        BadAudio: the samples are cut off, or there are too many chunks.
    """
    size = form.stop or size_of(file)
    walked = Chunks()
    at = form.start
    for _ in range(MAX_CHUNKS):
        head = read_at(file, at, form.header)
        if at >= size or len(head) < form.header:
            break
        name, length, body = head[:4], _length(head, form), at + form.header
        if name == form.sound:
            length = _sound(file, form, walked, body, length, size)
            walked.sound.append((body, length))
        elif name in wanted and body + length <= size:
            walked.found.setdefault(name, read_at(file, body, min(length, longest)))
        at = _next(file, form, body + max(0, length))
    else:
        raise BadAudio(f"it has more than {MAX_CHUNKS} chunks; save it again with an audio editor")
    return _searched(file, form, walked, wanted, size) if recover else walked


def _length(head: bytes, form: Form) -> int:
    length = int.from_bytes(head[form.id_bytes :], form.order)
    return max(0, length - form.header) if form.inclusive else length


def _sound(file: BinaryIO, form: Form, walked: Chunks, body: int, length: int, size: int) -> int:
    """The true length of a chunk of samples whose header claims `length`."""
    rest = size - body
    sizes = walked.found.get(b"ds64")
    if sizes and length >= _MIN_UNKNOWN_SIZE:
        length = int.from_bytes(sizes[8:16], form.order)
    if not length:  # the recorder crashed, unless valid chunks follow
        return 0 if _is_chain(file, form, body, size) else rest
    if length > rest:
        if rest < length - MAX_EXCESS_BYTES and not _MIN_UNKNOWN_SIZE <= length < 2**32 and not length >= 2**62:
            raise cut_off(body + length, size)
        return rest
    if form.end and rest - length > MAX_EXCESS_BYTES and abs(form.end - size) <= MAX_EXCESS_BYTES:
        # The container covers the bytes that follow: they are more samples, unless they are valid chunks.
        return length if _is_chain(file, form, _next(file, form, body + length), size) else rest
    return length


def _next(file: BinaryIO, form: Form, end: int) -> int:
    """Where the next chunk begins; some writers omit the padding."""
    aligned = end + -(end - form.start) % form.align
    if aligned != end and not _is_name(read_at(file, aligned, 4)) and _is_name(read_at(file, end, 4)):
        return end
    return aligned


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(0x20 <= letter < 0x7F for letter in name)


def _is_chain(file: BinaryIO, form: Form, at: int, size: int) -> bool:
    """Whether valid chunks, or nothing, follow from `at` to the end."""
    for _ in range(MAX_CHUNKS):
        if at >= size - 1:
            return True
        head = read_at(file, at, form.header)
        if len(head) < form.header or not _is_name(head[:4]):
            return False
        at = _next(file, form, at + form.header + _length(head, form))
        if at > size + MAX_EXCESS_BYTES:
            return False
    return False


def _searched(file: BinaryIO, form: Form, walked: Chunks, wanted: Collection[bytes], size: int) -> Chunks:
    """Search for chunks that a wrong size of another chunk has hidden."""
    missing = [name for name in wanted if name not in walked.found and name != b"ds64"]
    if walked.sound and not missing:
        return walked
    head = read_at(file, form.start, SEARCH_BYTES)
    for name in missing:
        at = head.find(name)
        if 0 <= at <= len(head) - form.header:
            length = _length(head[at : at + form.header], form)
            walked.found[name] = head[at + form.header : at + form.header + min(length, 4096)]
    at = head.find(form.sound) if not walked.sound else -1
    if 0 <= at <= len(head) - form.header:
        body = form.start + at + form.header
        length = _length(head[at : at + form.header], form)
        walked.sound.append((body, _sound(file, form, walked, body, length, size)))
    return walked
