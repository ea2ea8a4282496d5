"""Channels-last convolutions: about twice as fast on a CPU in bfloat16."""

from __future__ import annotations

from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def use_channels_last(module: nn.Module) -> None:
    """Compute every `Conv1d` and `ConvTranspose1d` as a two-dimensional one of height 1, on the same weights."""
    for part in module.modules():
        if isinstance(part, nn.Conv1d):
            part.forward = MethodType(_convolve, part)  # type: ignore[method-assign]
        elif isinstance(part, nn.ConvTranspose1d):
            part.forward = MethodType(_transpose, part)  # type: ignore[method-assign]


def _image(x: Tensor) -> Tensor:
    return x.unsqueeze(2).contiguous(memory_format=torch.channels_last)


def _convolve(self: nn.Conv1d, x: Tensor) -> Tensor:
    weight = self.weight.unsqueeze(2)
    stride, padding, dilation = (1, self.stride[0]), (0, int(self.padding[0])), (1, self.dilation[0])
    return F.conv2d(_image(x), weight, self.bias, stride, padding, dilation).squeeze(2)


def _transpose(self: nn.ConvTranspose1d, x: Tensor) -> Tensor:
    weight = self.weight.unsqueeze(2)
    stride, padding = (1, self.stride[0]), (0, int(self.padding[0]))
    return F.conv_transpose2d(_image(x), weight, self.bias, stride, padding).squeeze(2)
