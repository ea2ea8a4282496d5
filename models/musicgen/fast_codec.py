"""EnCodec for inference: its weights computed once, and an activation that is not half of all decoding on a CPU."""

from __future__ import annotations

import torch
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations


class Elu(torch.nn.Module):
    """The same as `torch.nn.ELU` with an alpha of 1, to the rounding of `exp(x)`, which is faster than `expm1`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[B, C, T]` to the same."""
        below = x.clamp(max=0).exp_().sub_(1)
        return torch.maximum(x, below, out=below)


def use_fast_codec(codec: torch.nn.Module) -> None:
    """Replace what makes a codec slow. It cannot be trained then."""
    for name, module in list(codec.named_modules()):
        if isinstance(module, torch.nn.ELU) and module.alpha == 1:
            codec.set_submodule(name, Elu())
        elif is_parametrized(module, "weight"):
            remove_parametrizations(module, "weight")
    codec.requires_grad_(False)
