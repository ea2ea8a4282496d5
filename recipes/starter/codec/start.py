"""Start the decoder as a synthesis basis: its transposed convolutions are set to nested lapped cosine transforms.

So the decoder begins with the coefficients of a transform, 120 of them 200 times a second, and need not find out how to
make a wave. What amplitudes they have and which phases, it learns.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderOobleck

from models.starter.recipe.ace_step.transform import lapped_cosine, set_weight, weight_of

from .architecture import LATENT, NOISE

RESIDUAL_SHARE = 0.3
REST_SHARE = 0.1
STRAIGHT = 2.0
"""Log of beta of the Snake activations on the transform's channels: nearly linear at first."""
NOISE_GAIN = 3.0
"""How much louder the noise channels are heard at first."""


@torch.no_grad()
def start_as_synthesis(codec: AutoencoderOobleck) -> None:
    """Set the decoder's weights as described above."""
    decoder = codec.decoder
    for module in decoder.modules():
        if type(module).__name__ == "OobleckResidualUnit":
            module.conv2.weight_g.mul_(RESIDUAL_SHARE)
            module.conv2.bias.mul_(RESIDUAL_SHARE)
    last = REST_SHARE * weight_of(decoder.conv2)
    last[0, 0, 3] = 1
    set_weight(decoder.conv2, last)
    decoder.snake1.beta[:, 0] = STRAIGHT

    channels = 1
    for block in list(decoder.block)[:0:-1]:
        stride = block.conv_t1.stride[0]
        basis = lapped_cosine(stride)
        synthesis = REST_SHARE * weight_of(block.conv_t1)
        for channel in range(channels):
            synthesis[channel * stride : (channel + 1) * stride, channel] += basis
        set_weight(block.conv_t1, synthesis)
        channels *= stride
        block.snake1.beta[:, :channels] = STRAIGHT

    first = weight_of(decoder.conv1)
    first[:, LATENT - NOISE :] *= NOISE_GAIN
    set_weight(decoder.conv1, first)
