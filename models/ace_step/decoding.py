"""From latents to audio, piece by piece, and yet as if at once."""

from __future__ import annotations

import math
from collections.abc import Generator

import torch
from diffusers import AutoencoderOobleck
from torch import Tensor

# Latent frames to a piece: the decoder's memory grows with it, and how long another row waits for its end. But what
# pieces overlap by is worked out twice: a piece is at least so many times as long.
_PIECE, _OVERLAPS = 250, 25
# What a sample sees on either side: of a convolution over 7; of a block's residual units, dilated by 1, 3 and 9.
_CONVOLUTION = 3
_UNITS = 3 * (1 + 3 + 9)


@torch.inference_mode()
def decode(vae: AutoencoderOobleck, latents: Tensor) -> Generator[None, None, Tensor]:
    """Audio `[channels, samples]` of latents `[1, T, C]`, with a pause after each piece.

    Pieces overlap by what the decoder sees, so that none of them has an edge that the whole would not have.
    """
    z = latents.transpose(1, 2)
    length, hop, halo = z.shape[-1], vae.hop_length, _sight(vae)
    if any(stride % 2 for stride in vae.config.downsampling_ratios):
        # Each odd stride takes something off the end, so that only the whole has the right length.
        yield
        return vae.decode(z).sample[0]
    pieces, piece = [], max(_PIECE, _OVERLAPS * halo)
    for start in range(0, length, piece):
        first, end = max(0, start - halo), min(length, start + piece)
        audio = vae.decode(z[..., first : min(length, end + halo)]).sample[0]
        pieces.append(audio[:, (start - first) * hop : (end - first) * hop])
        yield
    return torch.cat(pieces, dim=1)


def _sight(vae: AutoencoderOobleck) -> int:
    """How many latent frames on either side the decoder sees of a sample."""
    frames, rate = float(_CONVOLUTION), 1
    for stride in reversed(vae.config.downsampling_ratios):
        frames += 1 / rate
        rate *= stride
        frames += _UNITS / rate
    return math.ceil(frames + _CONVOLUTION / rate)
