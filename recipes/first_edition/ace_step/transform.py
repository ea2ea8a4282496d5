"""Initialise the codec as a transform coder.

The encoder's strided convolutions are set to nested lapped cosine transforms (MDCT), its last one to the principal
components of their output, and the decoder's to the transposes. All of these are orthonormal, so the untrained codec
already reconstructs the strongest components of the music in phase. Training refines it through the residual units,
which start small. From random weights, learning phase takes longer than all the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderOobleck

from ..levels import read_levels
from .architecture import LATENT, STRIDES
from .levels import LEVELS, WAVES, unit_levels

STRAIGHT = 2.0
"""Log of beta of the Snake activations on the transform's channels: nearly linear at first."""
RESIDUAL_SHARE = 0.1
REST_SHARE = 0.1
START_SCALE = -2.3
"""The latents' deviation before softplus: about 0.1 after it."""


def lapped_cosine(hop: int) -> torch.Tensor:
    """The MDCT's orthonormal basis with a sine window, `[hop, 2 * hop]`."""
    n, k = np.arange(2 * hop), np.arange(hop)[:, None]
    window = np.sin(np.pi / (2 * hop) * (n + 0.5))
    basis = np.sqrt(2 / hop) * window * np.cos(np.pi / hop * (n + 0.5 + hop / 2) * (k + 0.5))
    return torch.from_numpy(basis).float()


def set_weight(convolution: Any, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
    """Give a weight-normalised convolution this weight."""
    with torch.no_grad():
        # A row of zeros has no direction, and its normalised weight would not be a number.
        weight = weight + 1e-6 * (weight.flatten(1).norm(dim=1) == 0).view(-1, 1, 1)
        convolution.weight_v.copy_(weight)
        convolution.weight_g.copy_(weight.flatten(1).norm(dim=1).view(-1, 1, 1))
        if bias is not None:
            convolution.bias.copy_(bias)


def weight_of(convolution: Any) -> torch.Tensor:
    """The weight that a weight-normalised convolution applies."""
    direction = convolution.weight_v / convolution.weight_v.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1)
    return (convolution.weight_g * direction).detach().clone()


def _straighten(snake: Any, channels: int) -> None:
    with torch.no_grad():
        snake.beta[:, :channels] = STRAIGHT


@torch.no_grad()
def start_as_transform(codec: AutoencoderOobleck, audio: torch.Tensor) -> None:
    """Set `codec`'s weights as described above; `audio` `[B, 1, T]` gives the principal components."""
    encoder, decoder = codec.encoder, codec.decoder
    for module in codec.modules():
        if type(module).__name__ == "OobleckResidualUnit":
            module.conv2.weight_g.mul_(RESIDUAL_SHARE)
            module.conv2.bias.mul_(RESIDUAL_SHARE)

    first = REST_SHARE * weight_of(encoder.conv1)
    first[0] = 0
    first[0, 0, 3] = 1
    set_weight(encoder.conv1, first, torch.zeros_like(encoder.conv1.bias))
    last = REST_SHARE * weight_of(decoder.conv2)
    last[0, 0, 3] = 1
    set_weight(decoder.conv2, last)
    _straighten(decoder.snake1, 1)

    channels = 1
    for stride, down, up in zip(STRIDES, encoder.block, reversed(list(decoder.block)), strict=True):
        basis = lapped_cosine(stride)
        for unit in (down.res_unit1, down.res_unit2, down.res_unit3):
            _straighten(unit.snake1, channels)
        _straighten(down.snake1, channels)
        analysis = REST_SHARE * weight_of(down.conv1)
        synthesis = REST_SHARE * weight_of(up.conv_t1)
        analysis[: channels * stride] *= REST_SHARE
        synthesis[: channels * stride] *= REST_SHARE
        for channel in range(channels):
            rows = slice(channel * stride, (channel + 1) * stride)
            analysis[rows, channel] += basis
            if channels * stride <= synthesis.shape[0]:
                synthesis[rows, channel] += basis
        set_weight(down.conv1, analysis, torch.zeros_like(down.conv1.bias))
        set_weight(up.conv_t1, synthesis, torch.zeros_like(up.conv_t1.bias))
        channels *= stride
        _straighten(up.snake1, channels)
    _straighten(encoder.snake1, channels)

    # Pre-emphasis, so that components are ranked by audibility, not by energy, which is mostly bass.
    emphasised = _features(codec, audio - 0.8 * torch.nn.functional.pad(audio, (1, 0))[..., :-1])
    plain = _features(codec, audio)
    _, vectors = torch.linalg.eigh(torch.cov(emphasised[:channels]))
    components = vectors[:, -WAVES:].T.flip(0)
    deviation = (components @ plain[:channels]).std(dim=1)
    _start_detectors(codec, plain[:channels], audio)

    picking = 0.01 * weight_of(encoder.conv2)
    picking[LEVELS:LATENT, :channels, 1] = components / deviation[:, None]
    bias = torch.zeros_like(encoder.conv2.bias)
    bias[LATENT:] = START_SCALE
    picking[:LEVELS, :, 1], bias[:LEVELS] = read_levels(_features(codec, audio), unit_levels(audio[:, 0]), ridge=1e-3)
    set_weight(encoder.conv2, picking, bias)

    spreading = REST_SHARE * weight_of(decoder.conv1)
    spreading[:channels] *= REST_SHARE
    spreading[:channels, LEVELS:, 3] += (components * deviation[:, None]).T
    set_weight(decoder.conv1, spreading, torch.zeros_like(decoder.conv1.bias))


def _features(codec: AutoencoderOobleck, audio: torch.Tensor) -> torch.Tensor:
    """The input of the encoder's last convolution, `[channels, frames]`."""
    inputs_seen: list[torch.Tensor] = []
    hook = codec.encoder.snake1.register_forward_hook(lambda module, inputs, output: inputs_seen.append(output))
    codec.encoder(audio)
    hook.remove()
    return inputs_seen[0].transpose(0, 1).flatten(1)


def _start_detectors(codec: AutoencoderOobleck, coefficients: torch.Tensor, audio: torch.Tensor) -> None:
    """Copy the coefficients that correlate most with a level to the spare channels; their activation squares them."""
    levels = unit_levels(audio[:, 0]).transpose(0, 1).flatten(1)
    size = coefficients.abs().sqrt()
    unit = (size - size.mean(1, keepdim=True)) / (size.std(1, keepdim=True) + 1e-6)
    correlation = unit @ levels.T / levels.shape[1]
    convolution = codec.encoder.block[-1].conv1
    weight, bias = weight_of(convolution), convolution.bias.clone()
    spare = list(range(len(coefficients), weight.shape[0]))
    each = len(spare) // LEVELS
    for level in range(LEVELS):
        for row, source in zip(spare[level * each :], correlation[:, level].topk(each).indices.tolist(), strict=False):
            weight[row] = 0.5 / (coefficients[source].std() + 1e-3) * weight[source]
            bias[row] = 0
    set_weight(convolution, weight, bias)
