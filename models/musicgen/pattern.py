"""The delay pattern: codebook k of a frame is written k positions after codebook 0 of the same frame.

Position 0 is padding, which starts the sequence. With codebooks 0, 1 and 2 and frames a, b, c the decoder reads

    - a b c - -
    - - a b c -
    - - - a b c

so that a frame's coarse codes are known when its fine ones are chosen. In stereo models the left and right codebooks
alternate and share a delay.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def delays(codebooks: int, channels: int) -> list[int]:
    """The delay of each codebook, in positions."""
    return [index // channels for index in range(codebooks)]


def delay(codes: torch.Tensor, by: Sequence[int], pad: int) -> torch.Tensor:
    """Apply the delays: codes by frame `[..., K, T]` to codes by position `[..., K, 1 + T + max(by)]`."""
    frames = codes.shape[-1]
    positions = codes.new_full((*codes.shape[:-1], 1 + frames + max(by)), pad)
    for index, shift in enumerate(by):
        positions[..., index, 1 + shift : 1 + shift + frames] = codes[..., index, :]
    return positions


def undelay(positions: torch.Tensor, by: Sequence[int]) -> torch.Tensor:
    """The inverse of `delay`."""
    frames = positions.shape[-1] - 1 - max(by)
    return torch.stack(
        [positions[..., index, 1 + shift : 1 + shift + frames] for index, shift in enumerate(by)], dim=-2
    )
