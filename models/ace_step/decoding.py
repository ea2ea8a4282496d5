"""From latents to audio."""

from __future__ import annotations

import math
from collections.abc import Generator

import torch
from diffusers import AutoencoderOobleck
from torch import Tensor

from models import chunked_decoding

# What a sample sees on either side: of a convolution over 7; of a block's residual units, dilated by 1, 3 and 9.
_CONVOLUTION = 3
_UNITS = 3 * (1 + 3 + 9)


@torch.inference_mode()
def decode(vae: AutoencoderOobleck, latents: Tensor) -> Generator[None, None, Tensor]:
    """Audio `[channels, samples]` of latents `[1, T, C]`, with a pause after each piece."""
    z = latents.transpose(1, 2)
    if any(stride % 2 for stride in vae.config.downsampling_ratios):
        # Each odd stride takes something off the end, so that only the whole has the right length.
        yield
        return vae.decode(z).sample[0]
    return (
        yield from chunked_decoding.decoded(z, _sight(vae), vae.hop_length, lambda part: vae.decode(part).sample[0])
    )


def _sight(vae: AutoencoderOobleck) -> int:
    """How many latent frames on either side the decoder sees of a sample."""
    frames, rate = float(_CONVOLUTION), 1
    for stride in reversed(vae.config.downsampling_ratios):
        frames += 1 / rate
        rate *= stride
        frames += _UNITS / rate
    return math.ceil(frames + _CONVOLUTION / rate)
