"""Runs convolutions in float32 that this processor computes incorrectly in half precision."""

from __future__ import annotations

from functools import cache, partial

import torch
from torch import Tensor
from torch.nn.functional import conv1d, conv_transpose1d

from models.channels_last import ChannelsLast, use_channels_last

_HALF = (torch.bfloat16, torch.float16)
Convolution = torch.nn.Conv1d | torch.nn.ConvTranspose1d

# Relative error. Half precision rounds to half a percent at most; wrong results have nothing in common.
_TOLERANCE = 0.02
_FRAMES = 40


def guard_convolutions(root: torch.nn.Module) -> None:
    """Run convolutions under `root` in float32 if the CPU computes them incorrectly in half precision.

    With AMX, oneDNN 3.12 (in torch 2.14) does so for some strided convolutions, such as 16 to 32 channels of width 8
    with stride 4.
    """
    for module in root.modules():
        if not isinstance(module, Convolution):
            continue
        # With weight normalisation `weight` is computed, and no parameter.
        parameter = next(module.parameters())
        if parameter.device.type == "cpu" and parameter.dtype in _HALF and not _is_correct(module, parameter.dtype):
            module.forward = partial(_in_float32, module)  # type: ignore[method-assign]


def _is_correct(module: Convolution, dtype: torch.dtype) -> bool:
    """Whether this processor computes a convolution of the module's class and shape correctly."""
    return _shape_is_correct(
        isinstance(module, torch.nn.ConvTranspose1d),
        isinstance(module, ChannelsLast),
        module.in_channels,
        module.out_channels,
        module.kernel_size[0],
        module.stride[0],
        module.dilation[0],
        module.groups,
        dtype,
    )


@cache
def _shape_is_correct(
    transposed: bool,
    channels_last: bool,
    inputs: int,
    outputs: int,
    width: int,
    stride: int,
    dilation: int,
    groups: int,
    dtype: torch.dtype,
) -> bool:
    generator = torch.Generator().manual_seed(0)
    kind = torch.nn.ConvTranspose1d if transposed else torch.nn.Conv1d
    layer = kind(inputs, outputs, width, stride, dilation=dilation, groups=groups, bias=False).requires_grad_(False)
    layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
    if channels_last:
        use_channels_last(layer)
    frames = _FRAMES if transposed else _FRAMES * stride + width * dilation
    sound = torch.randn(1, frames, inputs, generator=generator).transpose(1, 2)
    exact = layer(sound)
    half = layer.to(dtype)(sound.to(dtype))
    return bool((half.float() - exact).norm() < _TOLERANCE * exact.norm())


def _in_float32(module: Convolution, x: Tensor) -> Tensor:
    weight, bias = module.weight.float(), None if module.bias is None else module.bias.float()
    stride, groups, dilation = module.stride, module.groups, module.dilation
    if isinstance(module, torch.nn.ConvTranspose1d):
        assert not isinstance(module.padding, str)
        padding = module.padding
        y = conv_transpose1d(x.float(), weight, bias, stride, padding, module.output_padding, groups, dilation)
    else:
        y = conv1d(x.float(), weight, bias, stride, module.padding, dilation, groups)
    return y.to(x.dtype)
