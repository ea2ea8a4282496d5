"""Encodes and decodes audio in overlapping chunks, with the same result as in one piece."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# A codec's memory, and how long other rows wait, grow with the chunk.
_CHUNK_FRAMES = 250
# The overlap is computed twice, so a chunk is at least this many times as long.
_MIN_CHUNK_OVERLAPS = 25


@dataclass(frozen=True)
class Chunk:
    """Frames `start` to `end`, which are computed from frames `first` to `last`, since those influence them."""

    first: int
    start: int
    end: int
    last: int


def chunks(length: int, receptive_field: int, first: int | None = None) -> Iterator[Chunk]:
    """Split `length` frames.

    Args:
        receptive_field: number of frames on either side that influence a result. Chunks overlap by it, so that none has
            an edge that the whole would not have.
        first: size of the first chunk, after which each is twice as long, up to the usual size; that size if None.
    """
    usual = max(_CHUNK_FRAMES, _MIN_CHUNK_OVERLAPS * receptive_field)
    size, start = min(usual, first or usual), 0
    while start < length:
        end = min(length, start + size)
        yield Chunk(max(0, start - receptive_field), start, end, min(length, end + receptive_field))
        start, size = end, min(usual, 2 * size)


def decode_in_chunks(
    frames: Tensor,
    receptive_field: int,
    hop: int,
    decode: Callable[[Tensor], Tensor],
    emit: Callable[[Tensor], None] | None = None,
    first: int | None = None,
) -> Generator[None, None, Tensor]:
    """Decode `[..., T]` to `[..., T × hop]`, with a pause after each chunk.

    Args:
        receptive_field: number of frames on either side of a sample that influence it.
        hop: samples per frame.
        decode: decodes `[..., n]` to `[..., n × hop]`.
        emit: called with each chunk's results.
        first: size of the first chunk; see `chunks`.
    """
    parts = []
    for chunk in chunks(frames.shape[-1], receptive_field, first):
        audio = decode(frames[..., chunk.first : chunk.last])
        parts.append(audio[..., (chunk.start - chunk.first) * hop : (chunk.end - chunk.first) * hop])
        if emit:
            emit(parts[-1])
        yield
    return torch.cat(parts, dim=-1)


def encode_in_chunks(
    samples: Tensor, receptive_field: int, hop: int, encode: Callable[[Tensor], Tensor]
) -> Generator[None, None, Tensor]:
    """Encode `[..., samples]` to `[..., T]`, with a pause after each chunk.

    Samples beyond the last whole frame influence the frames before it.

    Args:
        receptive_field: number of frames on either side of a frame whose samples influence it.
        hop: samples per frame.
        encode: encodes at least `n × hop` and fewer than `(n + 1) × hop` samples to `[..., n]`.
    """
    parts = []
    length = samples.shape[-1] // hop
    for chunk in chunks(length, receptive_field):
        end = samples.shape[-1] if chunk.last == length else chunk.last * hop
        frames = encode(samples[..., chunk.first * hop : end])
        parts.append(frames[..., chunk.start - chunk.first : chunk.end - chunk.first])
        yield
    return torch.cat(parts, dim=-1)
