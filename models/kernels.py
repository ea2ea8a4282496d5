"""What the processor at hand computes rightly, and fast, in half precision: found out by trying."""

from __future__ import annotations

import time
from functools import cache, partial

import torch
from torch import Tensor
from torch.nn.functional import conv1d, conv_transpose1d, linear

HALF = (torch.bfloat16, torch.float16)
Convolution = torch.nn.Conv1d | torch.nn.ConvTranspose1d

# Half precision is off by half a percent at most; what is wrong is off by all there is.
_NEAR = 0.02
# How many times as fast half precision must be: with AMX it is four times or more, without slower than float32.
_PAYS = 1.5
_ROWS, _WIDTH, _TRIES = 128, 1024, 5
_FRAMES = 40


@cache
def bfloat16_pays() -> bool:
    """Whether a CPU's matrix products in bfloat16 are right, and well faster than in float32, as with AMX."""
    if not torch.cpu.get_capabilities().get("amx_bf16"):
        return False
    generator = torch.Generator().manual_seed(0)
    rows, weight = (torch.randn(count, _WIDTH, generator=generator) for count in (_ROWS, _WIDTH))
    half = rows.bfloat16(), weight.bfloat16()
    return _near(linear(*half), linear(rows, weight)) and _PAYS * _seconds(*half) < _seconds(rows, weight)


def _seconds(rows: Tensor, weight: Tensor) -> float:
    taken = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        linear(rows, weight)
        taken.append(time.perf_counter() - start)
    return min(taken)


def guard_convolutions(root: torch.nn.Module) -> None:
    """Have those convolutions under `root` run in float32 that a CPU computes wrongly in half precision.

    With AMX, oneDNN 3.12 (in torch 2.14) does so for some in strides: from 16 to 32 channels, 8 wide, in strides of 4,
    the result has nothing to do with the right one.
    """
    for module in root.modules():
        if not isinstance(module, Convolution):
            continue
        # With weight normalisation the weight itself is no parameter.
        parameter = next(module.parameters())
        if parameter.device.type == "cpu" and parameter.dtype in HALF and not _right(module, parameter.dtype):
            module.forward = partial(_in_float32, module)  # type: ignore[method-assign]


def _right(module: Convolution, dtype: torch.dtype) -> bool:
    """Whether this processor computes a convolution of the module's kind rightly."""
    return _kind_is_right(
        isinstance(module, torch.nn.ConvTranspose1d),
        module.in_channels,
        module.out_channels,
        module.kernel_size[0],
        module.stride[0],
        module.dilation[0],
        module.groups,
        dtype,
    )


@cache
def _kind_is_right(
    transposed: bool, inputs: int, outputs: int, width: int, stride: int, dilation: int, groups: int, dtype: torch.dtype
) -> bool:
    generator = torch.Generator().manual_seed(0)
    shape = (inputs, outputs // groups, width) if transposed else (outputs, inputs // groups, width)
    weight = torch.randn(shape, generator=generator)
    frames = _FRAMES if transposed else _FRAMES * stride + width * dilation
    sound = torch.randn(1, inputs, frames, generator=generator)
    function = conv_transpose1d if transposed else conv1d
    exact = function(sound, weight, stride=stride, dilation=dilation, groups=groups)
    return _near(function(sound.to(dtype), weight.to(dtype), stride=stride, dilation=dilation, groups=groups), exact)


def _near(half: Tensor, exact: Tensor) -> bool:
    return bool((half.float() - exact).norm() < _NEAR * exact.norm())


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
