"""Convolutions over channels-last memory, in which a CPU decodes a codec's latents about a fifth faster.

oneDNN reorders the memory of a wide convolution's input and output unless their channels are next to each other. It
takes such memory for two dimensions only, so that time is the second of them here.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d


class ChannelsLast:
    """A convolution whose results `[B, C, T]` have their channels next to each other, on a CPU."""


class ChannelsLastConv1d(torch.nn.Conv1d, ChannelsLast):
    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or isinstance(self.padding, str):
            return super().forward(x)
        padding, dilation = (0, *self.padding), (1, *self.dilation)
        weight = self.weight.unsqueeze(2)
        return conv2d(x.unsqueeze(2), weight, self.bias, (1, *self.stride), padding, dilation, self.groups).squeeze(2)


class ChannelsLastConvTranspose1d(torch.nn.ConvTranspose1d, ChannelsLast):
    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if x.device.type != "cpu" or isinstance(self.padding, str) or output_size is not None:
            return super().forward(x, output_size)
        padding, more, dilation = (0, *self.padding), (0, *self.output_padding), (1, *self.dilation)
        weight, stride = self.weight.unsqueeze(2), (1, *self.stride)
        return conv_transpose2d(
            x.unsqueeze(2), weight, self.bias, stride, padding, more, self.groups, dilation
        ).squeeze(2)


def use_channels_last(root: torch.nn.Module) -> None:
    """Turn the convolutions under `root` into these. Normalised weights must have been folded (`weight_norms.py`)."""
    for module in root.modules():
        if type(module) is torch.nn.Conv1d:
            module.__class__ = ChannelsLastConv1d
        elif type(module) is torch.nn.ConvTranspose1d:
            module.__class__ = ChannelsLastConvTranspose1d
        else:
            continue
        module.weight.data = module.weight.data.transpose(1, 2).contiguous().transpose(1, 2)
