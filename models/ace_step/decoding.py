"""Decodes latents to audio."""

from __future__ import annotations

import math
from collections.abc import Generator

import torch
from diffusers import AutoencoderOobleck
from torch import Tensor

from models.chunked_decoding import decode_in_chunks

# Receptive fields, in samples on either side: of a convolution of width 7, and of a block's three residual units of
# that width with dilations 1, 3 and 9.
_CONVOLUTION = 3
_RESIDUAL_UNITS = 3 * (1 + 3 + 9)


@torch.inference_mode()
def decode(vae: AutoencoderOobleck, latents: Tensor) -> Generator[None, None, Tensor]:
    """Decode latents `[1, T, C]` to audio `[channels, samples]`, with a pause after each chunk."""
    z = latents.transpose(1, 2)
    if any(stride % 2 for stride in vae.config.downsampling_ratios):
        # Odd strides shorten the end of each decoded chunk, so the latents are decoded as a whole.
        yield
        return vae.decode(z).sample[0]
    return (
        yield from decode_in_chunks(z, _receptive_field(vae), vae.hop_length, lambda part: vae.decode(part).sample[0])
    )


def _receptive_field(vae: AutoencoderOobleck) -> int:
    """The decoder's receptive field in latent frames on either side."""
    frames, rate = float(_CONVOLUTION), 1
    for stride in reversed(vae.config.downsampling_ratios):
        frames += 1 / rate
        rate *= stride
        frames += _RESIDUAL_UNITS / rate
    return math.ceil(frames + _CONVOLUTION / rate)
