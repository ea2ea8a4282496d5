"""Linear layers with int8 weights, which take half the memory of bfloat16. Adapters stay outside of them, unquantised.

Each output has a scale, and its weights are whole numbers from -127 to 127 times that scale. Half precision represents
those numbers exactly, so the product is that of a layer in half precision with rounded weights.

torchao's int8 tensors are not used: a merged copy (DoRA and the like) is computed from a layer's `weight` by ordinary
operations, and adapters are added to several layers at once, which takes plain tensors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

_MAX_CODE = 127


class Int8Linear(torch.nn.Linear):
    """A Linear layer with the rounded weights of another one.

    Attributes:
        codes: int8 `[out, in]`.
        scale: of each output, `[out]`, in the layer's dtype.
    """

    codes: Tensor
    scale: Tensor

    @torch.no_grad()
    def __init__(self, layer: torch.nn.Linear) -> None:
        torch.nn.Module.__init__(self)  # that of Linear would allocate a weight
        self.in_features, self.out_features, self.bias = layer.in_features, layer.out_features, layer.bias
        weight = layer.weight.float()
        largest = weight.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny * _MAX_CODE)
        scale = (largest / _MAX_CODE).to(layer.weight.dtype)
        codes = (weight / scale.float()[:, None]).round().clamp(-_MAX_CODE, _MAX_CODE)
        self.register_buffer("codes", codes.to(torch.int8))
        self.register_buffer("scale", scale)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The rounded weight `[out, in]` in the layer's dtype, computed anew."""
        return self.codes.to(self.scale.dtype) * self.scale[:, None]

    def forward(self, x: Tensor) -> Tensor:
        y = _Product.apply(x, self.codes, self.scale) if x.requires_grad else _product(x, self.codes, self.scale)
        return y if self.bias is None else y + self.bias


def _product(x: Tensor, codes: Tensor, scale: Tensor) -> Tensor:
    return linear(x, codes.to(x.dtype)) * scale


class _Product(torch.autograd.Function):
    """`_product` that keeps the int8 codes for its gradient, where autograd would keep them in half precision."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(codes, scale)
        ctx.dtype = x.dtype
        return _product(x, codes, scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        codes, scale = ctx.saved_tensors
        (gradient,) = gradients
        return ((gradient * scale) @ codes.to(gradient.dtype)).to(ctx.dtype), None, None


def quantise(root: torch.nn.Module) -> None:
    """Replace the Linear layers under `root` by `Int8Linear` layers."""
    for name, layer in list(root.named_modules()):
        if type(layer) is torch.nn.Linear:
            root.set_submodule(name, Int8Linear(layer))
