"""Initialise EnCodec as a transform coder, as `ace_step/transform.py` does Oobleck.

Its activations are ELUs, which are linear for small values: signals are kept at a deviation of `SMALL` in every channel
that carries the transform. Where a stage has fewer channels than coefficients, only the principal components are kept.
Some of the remaining channels are envelope followers: they carry the second stage's bands at a level at which they are
rectified, and average them, so that the last layer can read the levels from them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F
from transformers import EncodecModel

from ..ace_step.transform import lapped_cosine
from ..levels import read_levels
from .architecture import LEVEL_SLOTS, STRIDES
from .levels import LEVELS, unit_levels

SMALL = 0.04
STRONG = 4.0
"""The deviation at which an ELU acts as a rectifier."""
RESIDUAL_SHARE = 0.01
CLOSED_GATE = -5.0
REST_SHARE, LEAK = 0.1, 0.02
CARRIERS = (4, 20, 120, 208)
"""Channels that carry the transform after each stage."""
GROUPS = ((0, 1), (1, 3), (3, 9), (9, 20))
"""Groups of the second stage's bands of 600 Hz, one for each envelope follower."""
EMPHASIS = 0.5
"""Pre-emphasis, so that components are ranked by audibility, not by energy alone."""
SPREAD = 0.4
"""The last components' deviations are their variances to this power: 0.5 would leave them, less amplifies weak ones."""


@torch.no_grad()
def start_as_transform(codec: EncodecModel, audio: torch.Tensor) -> None:
    """Set `codec`'s weights as described above; `audio` `[B, 1, T]` gives the principal components."""
    encoder: list[Any] = list(codec.encoder.layers)
    decoder: list[Any] = list(codec.decoder.layers)
    for module in codec.modules():
        if type(module).__name__ == "EncodecResnetBlock":
            module.block[-1].conv.weight = RESIDUAL_SHARE * module.block[-1].conv.weight.clone()
            for layer in module.block[1::2]:
                layer.conv.bias.zero_()
        if isinstance(module, torch.nn.LSTM):
            _bypass(module)
    bright = audio - EMPHASIS * F.pad(audio, (1, 0))[..., :-1]

    # The deviation of each carrier, before it is scaled to `SMALL`.
    deviation = audio.std().view(1)
    weight = REST_SHARE * encoder[0].conv.weight.clone()
    weight[0] = 0
    weight[0, 0, weight.shape[2] // 2] = SMALL / deviation[0]
    _set(encoder[0].conv, weight)
    weight = REST_SHARE * decoder[-1].conv.weight.clone()
    weight[0, 0, weight.shape[2] // 2] = deviation[0] / SMALL
    _set(decoder[-1].conv, weight)

    plain, count = audio, 1
    for stage, (stride, carriers) in enumerate(zip(STRIDES, CARRIERS, strict=True)):
        down, up = encoder[3 * stage + 3].conv, decoder[-3 * stage - 4].conv
        basis = torch.zeros(count * stride, count, 2 * stride)
        for channel in range(count):
            basis[channel * stride : (channel + 1) * stride, channel] = lapped_cosine(stride)
        components = _components(_lapped(bright, basis), carriers)
        basis = torch.einsum("ij,jct->ict", components, basis)
        plain, bright = _lapped(plain, basis), _lapped(bright, basis)
        after = plain.transpose(0, 1).flatten(1).std(1) + 1e-5

        weight = REST_SHARE * down.weight.clone()
        weight[:carriers] = 0
        weight[:carriers, :count] = basis * (SMALL / after)[:, None, None] * (deviation / SMALL)[None, :, None]
        if stage == 1:
            _rectify(weight, carriers)
        elif stage == 2:
            _average(weight, carriers)
        elif stage == 3:
            _hold(weight, carriers)
        _set(down, weight)
        # The channels that carry the transform back mix little with others at first.
        weight = REST_SHARE * up.weight.clone()
        weight[:, :count] *= LEAK
        weight[:carriers, :count] = basis * (after / SMALL)[:, None, None] * (SMALL / deviation)[None, :, None]
        _set(up, weight)
        count, deviation = carriers, after

    signals = plain.transpose(0, 1).flatten(1)
    final, first = encoder[-1].conv, decoder[0].conv
    width, center = final.weight.shape[0], final.weight.shape[2] // 2
    components = _components(bright, width - LEVELS)
    spread = (components @ signals).std(1)
    scale = spread ** (2 * SPREAD) / (spread ** (2 * SPREAD)).square().mean().sqrt() / spread
    weight = 0.01 * REST_SHARE * final.weight.clone()
    weight[LEVELS:, :count, center] = scale[:, None] * components * (deviation / SMALL)
    bias = torch.zeros(width)
    weight[:LEVELS, :, center], bias[:LEVELS] = read_levels(
        _features(codec, audio), unit_levels(audio[:, 0]), ridge=1e-4
    )
    _set(final, weight, bias)
    weight = REST_SHARE * first.weight.clone()
    weight[:count] *= LEAK
    weight[:count, LEVELS:, center] = (SMALL / deviation)[:, None] * components.T / scale
    _set(first, weight)


def _bypass(lstm: torch.nn.LSTM) -> None:
    """Nearly close the LSTM's output gate, so that the signal passes by the skip connection."""
    for value in lstm.parameters():
        value.mul_(0.3)
    lstm.get_parameter("bias_ih_l0")[-lstm.hidden_size :] = CLOSED_GATE


def _lapped(signal: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Analysis of `[B, C, T]` by `[N, C, 2 * hop]`, padded as EnCodec pads."""
    hop = basis.shape[2] // 2
    right = hop // 2
    return F.conv1d(F.pad(signal, (hop - right, right), mode="reflect"), basis, stride=hop)


def _components(signal: torch.Tensor, count: int) -> torch.Tensor:
    """The strongest principal components of `[B, C, T]`, `[count, C]`; the identity if all fit."""
    if signal.shape[1] <= count:
        return torch.eye(signal.shape[1])
    _, vectors = torch.linalg.eigh(torch.cov(signal.transpose(0, 1).flatten(1)))
    return vectors[:, -count:].T.flip(0)


def _rectify(weight: torch.Tensor, carriers: int) -> None:
    """Two copies of each band, one inverted, at a level at which the next activation rectifies them."""
    strong = weight[:carriers] * STRONG / SMALL
    weight[carriers : 3 * carriers] = torch.cat([strong, -strong])


def _average(weight: torch.Tensor, carriers: int) -> None:
    """Four channels, each the mean over a group of bands and over the window."""
    bands = CARRIERS[1]
    for index, (low, high) in enumerate(GROUPS):
        row = weight[carriers + index]
        row.zero_()
        for copy in (1, 2):
            row[copy * bands + low : copy * bands + high] = 0.5 / ((high - low) * row.shape[1])


def _hold(weight: torch.Tensor, carriers: int) -> None:
    """Each group's loudness in the parts of a frame, and of its neighbours."""
    taps = weight.shape[2]
    part = taps // (2 * LEVEL_SLOTS)
    for index in range(len(GROUPS)):
        for slot in range(2 * LEVEL_SLOTS):
            row = weight[carriers + index * 2 * LEVEL_SLOTS + slot]
            row.zero_()
            row[CARRIERS[2] + index, slot * part : (slot + 1) * part] = 1 / part


def _features(codec: EncodecModel, audio: torch.Tensor) -> torch.Tensor:
    """The input of the encoder's last convolution, `[channels, frames]`."""
    x = torch.nn.Sequential(*codec.encoder.layers[:-1])(audio)
    return x.transpose(0, 1).flatten(1)


def _set(convolution: Any, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
    # A row of zeros has no direction, and its normalised weight would not be a number.
    convolution.weight = weight + 1e-6 * (weight.flatten(1).norm(dim=1) == 0).view(-1, 1, 1)
    convolution.bias.copy_(torch.zeros_like(convolution.bias) if bias is None else bias)
