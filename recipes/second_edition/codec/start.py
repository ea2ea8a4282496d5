"""Initialise the decoder as a synthesis basis and the encoder as an analysis basis, by nested lapped transforms.

From random weights, most of the training would go into learning such a basis. The decoder begins with 120 coefficients
200 times a second, and learns their amplitudes and phases; the encoder begins with the same coefficients, and learns
their energies.
"""

from __future__ import annotations

import math

import torch
from diffusers import AutoencoderOobleck
from torch.nn import functional as F

from recipes.first_edition.ace_step.transform import lapped_cosine, set_weight, weight_of

from .architecture import LATENT, NOISE

RESIDUAL_SHARE = 0.3
REST_SHARE = 0.1
STRAIGHT = 2.0
"""Log of beta of the Snake activations on the transform's channels: nearly linear at first."""
LINEAR = 20.0
"""Log of beta where nothing is to be bent."""
STEEP = 6.0
"""Log of alpha where a coefficient becomes noise."""
SMALL_DEVIATION = -4.0
"""The posterior's deviation before softplus: sampling adds little."""
NOISE_DEVIATION, NOISE_ANGLE = 0.05, 4.0
"""Deviation of the noise channels before the activation, and within it in radians."""


@torch.no_grad()
def start_as_synthesis(codec: AutoencoderOobleck) -> None:
    """Set the decoder's transposed convolutions to lapped cosine transforms, one inside the other."""
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

    _start_noise_channels(codec)


@torch.no_grad()
def _start_noise_channels(codec: AutoencoderOobleck) -> None:
    """Feed half of the first convolution's channels from the noise alone, so steeply that they decorrelate.

    The latents hold a hundred noise values a second; these become thousands of random values of about the same size.
    The noise by itself would sound like bursts in all bands at once.
    """
    head, snake = codec.decoder.conv1, codec.decoder.block[0].snake1
    weight, bias = weight_of(head), head.bias.clone()
    half = slice(weight.shape[0] // 2, None)
    weight[half] = 0
    weight[half, LATENT - NOISE :].normal_(0, NOISE_DEVIATION / (NOISE * weight.shape[2]) ** 0.5)
    bias[half].uniform_(-NOISE_DEVIATION, NOISE_DEVIATION)
    set_weight(head, weight, bias)
    snake.alpha[:, half] = math.log(NOISE_ANGLE / NOISE_DEVIATION)
    snake.beta[:, half] = 0


@torch.no_grad()
def start_as_analysis(codec: AutoencoderOobleck) -> None:
    """Set the encoder to nested lapped transforms, cosines and sines, whose energies it learns.

    Activations at the transform's rate have scales from loud to soft, as a logarithm is built from them. The last
    latent channels get noise that depends on the waveform's phases, so that the same audio has the same noise.
    """
    encoder = codec.encoder
    outer, inner, last = encoder.block
    bands = outer.conv1.stride[0]
    _start_front(codec)
    hop = inner.conv1.stride[0]
    analysis = REST_SHARE * weight_of(inner.conv1)
    for band in range(bands):
        for part, basis in enumerate((lapped_cosine(hop), lapped_sine(hop))):
            rows = slice((part * bands + band) * hop, (part * bands + band + 1) * hop)
            analysis[rows, band] += basis
    set_weight(inner.conv1, analysis)
    for snake in (unit.snake1 for unit in (inner.res_unit1, inner.res_unit2, inner.res_unit3)):
        snake.beta[:] = STRAIGHT
    for unit in (last.res_unit1, last.res_unit2, last.res_unit3):
        unit.snake1.alpha.uniform_(0, 5)
        unit.snake1.beta.copy_(unit.snake1.alpha)
    _start_noise(codec)


def _start_front(codec: AutoencoderOobleck) -> None:
    """Make everything at the full rate one linear lapped transform, which `front` computes for a tenth of the time."""
    encoder = codec.encoder
    outer = encoder.block[0]
    first = torch.zeros_like(weight_of(encoder.conv1))
    first[0, 0, 3] = 1
    set_weight(encoder.conv1, first, torch.zeros_like(encoder.conv1.bias))
    for unit in (outer.res_unit1, outer.res_unit2, outer.res_unit3):
        unit.conv2.weight_g.zero_()
        unit.conv2.bias.zero_()
    outer.snake1.beta.fill_(LINEAR)
    analysis = torch.zeros_like(weight_of(outer.conv1))
    basis = _front_basis(outer.conv1.stride[0])
    analysis[: len(basis), :1] = basis
    set_weight(outer.conv1, analysis, torch.zeros_like(outer.conv1.bias))
    for part in (encoder.conv1, outer):
        part.requires_grad_(False)


def _front_basis(stride: int) -> torch.Tensor:
    """Cosines, then sines, `[2 * stride, 1, 2 * stride]`."""
    return torch.cat([lapped_cosine(stride), lapped_sine(stride)])[:, None]


@torch.no_grad()
def front(codec: AutoencoderOobleck, audio: torch.Tensor) -> torch.Tensor:
    """What the encoder's first block returns for audio `[B, 1, T]`, `[B, C, T / stride]`, as long as it is held."""
    convolution = codec.encoder.block[0].conv1
    stride = convolution.stride[0]
    basis = _front_basis(stride).to(audio)
    bands = F.conv1d(audio, basis, stride=stride, padding=convolution.padding)
    return F.pad(bands, (0, 0, 0, convolution.out_channels - len(basis)))


def lapped_sine(hop: int) -> torch.Tensor:
    """`lapped_cosine` with sines, `[hop, 2 * hop]`."""
    n, k = torch.arange(2 * hop, dtype=torch.float64), torch.arange(hop, dtype=torch.float64)[:, None]
    window = (torch.pi / (2 * hop) * (n + 0.5)).sin()
    angle = torch.pi / hop * (n + 0.5 + hop / 2) * (k + 0.5)
    return ((2 / hop) ** 0.5 * window * angle.sin()).float()


@torch.no_grad()
def _start_noise(codec: AutoencoderOobleck) -> None:
    """Make the last channels before the last convolution so steep that they are independent of loudness.

    The sum of eight squared sines of evenly spread angles is nearly normal.
    """
    encoder, count = codec.encoder, 8 * NOISE
    head, gather = encoder.conv2, encoder.block[-1].conv1
    weight, bias = weight_of(gather), gather.bias.clone()
    weight[-count:] *= REST_SHARE
    bias[-count:] = 0
    set_weight(gather, weight, bias)
    encoder.snake1.alpha[:, -count:] = STEEP
    encoder.snake1.beta[:, -count:] = 0
    weight, bias = weight_of(head), torch.zeros_like(head.bias)
    weight[:, -count:] = 0
    weight[LATENT:], bias[LATENT:] = 0, SMALL_DEVIATION
    weight[LATENT - NOISE : LATENT] = 0
    for channel in range(NOISE):
        columns = slice(weight.shape[1] - 8 * (channel + 1), weight.shape[1] - 8 * channel)
        weight[LATENT - NOISE + channel, columns, 1] = 1
        bias[LATENT - NOISE + channel] = -4
    set_weight(head, weight, bias)


def hold_noise(codec: AutoencoderOobleck) -> None:
    """Freeze what `start_as_analysis` set for the noise and for the posterior's deviation."""
    encoder, count = codec.encoder, 8 * NOISE
    head, gather = encoder.conv2, encoder.block[-1].conv1

    def keep(parameter: torch.Tensor, *held: tuple[slice, ...]) -> None:
        mask = torch.ones_like(parameter)
        for place in held:
            mask[place] = 0
        parameter.register_hook(lambda gradient: gradient * mask)

    tail, rows = slice(-count, None), slice(LATENT - NOISE, None)
    keep(head.weight_v, (rows,), (slice(None), tail))
    for parameter in (head.weight_g, head.bias):
        keep(parameter, (rows,))
    for parameter in (gather.weight_v, gather.weight_g, gather.bias):
        keep(parameter, (tail,))
    for parameter in (encoder.snake1.alpha, encoder.snake1.beta):
        keep(parameter, (slice(None), tail))
