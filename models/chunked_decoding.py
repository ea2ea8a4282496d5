"""Decodes audio in overlapping chunks, with the same result as in one piece."""

from __future__ import annotations

from collections.abc import Callable, Generator

import torch
from torch import Tensor

# A decoder's memory, and how long other rows wait, grow with the chunk.
_CHUNK_FRAMES = 250
# The overlap is computed twice, so a chunk is at least this many times as long.
_MIN_CHUNK_OVERLAPS = 25


def decode_in_chunks(
    frames: Tensor, receptive_field: int, hop: int, decode: Callable[[Tensor], Tensor]
) -> Generator[None, None, Tensor]:
    """Decode `[..., T]` to `[..., T × hop]`, with a pause after each chunk.

    Args:
        receptive_field: number of frames on either side of a sample that influence it. Chunks overlap by it, so that
            none has an edge that the whole would not have.
        hop: samples per frame.
        decode: decodes `[..., n]` to `[..., n × hop]`.
    """
    length, parts = frames.shape[-1], []
    chunk = max(_CHUNK_FRAMES, _MIN_CHUNK_OVERLAPS * receptive_field)
    for start in range(0, length, chunk):
        first, end = max(0, start - receptive_field), min(length, start + chunk)
        audio = decode(frames[..., first : min(length, end + receptive_field)])
        parts.append(audio[..., (start - first) * hop : (end - first) * hop])
        yield
    return torch.cat(parts, dim=-1)
