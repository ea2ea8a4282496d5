"""Decoding to audio piece by piece, and yet as if at once."""

from __future__ import annotations

from collections.abc import Callable, Generator

import torch
from torch import Tensor

# Frames to a piece: a decoder's memory grows with it, and how long another row waits for its end. But what pieces
# overlap by is worked out twice: a piece is at least so many times as long.
_PIECE, _OVERLAPS = 250, 25


def decoded(frames: Tensor, sight: int, hop: int, decode: Callable[[Tensor], Tensor]) -> Generator[None, None, Tensor]:
    """What `decode` makes of `[..., T]`, `[..., T × hop]`, with a pause after each piece.

    Args:
        sight: how many frames on either side `decode` sees of a sample. Pieces overlap by it, so that none of them has
            an edge that the whole would not have.
        hop: samples to a frame.
    """
    length, piece, parts = frames.shape[-1], max(_PIECE, _OVERLAPS * sight), []
    for start in range(0, length, piece):
        first, end = max(0, start - sight), min(length, start + piece)
        audio = decode(frames[..., first : min(length, end + sight)])
        parts.append(audio[..., (start - first) * hop : (end - first) * hop])
        yield
    return torch.cat(parts, dim=-1)
