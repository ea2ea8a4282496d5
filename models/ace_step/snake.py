"""The codec's activation, x + sin²(αx) / β (Ziyin et al., 2020, arXiv:2006.08195), for inference.

It takes a third of the time of diffusers' `Snake1d`, which takes a quarter of all decoding on a CPU, mostly for
allocating temporary tensors.
"""

from __future__ import annotations

import torch
from diffusers.models.autoencoders.autoencoder_oobleck import Snake1d


class Snake(torch.nn.Module):
    """Computes the same as `Snake1d`, in place in one new tensor, with the constants computed once."""

    alpha: torch.Tensor
    root: torch.Tensor

    @torch.no_grad()
    def __init__(self, snake: Snake1d) -> None:
        super().__init__()
        alpha, beta = (part.float().exp() if snake.logscale else part.float() for part in (snake.alpha, snake.beta))
        self.register_buffer("alpha", alpha.to(snake.alpha.dtype))
        # sin² / β = (sin · β^-½)²
        self.register_buffer("root", (beta + 1e-9).rsqrt().to(snake.beta.dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[B, C, T]` to the same."""
        wave = x * self.alpha
        wave.sin_().mul_(self.root)
        return torch.addcmul(x, wave, wave, out=wave)


def use_fast_snake(codec: torch.nn.Module) -> None:
    """Replace every `Snake1d` of a codec by `Snake`. The codec cannot be trained then."""
    for module in list(codec.modules()):
        for name, child in module.named_children():
            if isinstance(child, Snake1d):
                module.set_submodule(name, Snake(child))
