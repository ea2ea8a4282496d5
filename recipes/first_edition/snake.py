"""The Snake activation, x + sin²(αx) / β, for training: half the passes over memory, in the input's dtype."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_oobleck import Snake1d
from torch import Tensor


class _Snake(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, log_alpha: Tensor, log_beta: Tensor) -> Tensor:
        alpha, share = log_alpha.exp().to(x.dtype), (log_beta.exp() + 1e-9).reciprocal().to(x.dtype)
        ctx.save_for_backward(x, alpha, share)
        wave = (x * alpha).sin_()
        return wave.square_().mul_(share).add_(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (gradient,) = gradients
        x, alpha, share = ctx.saved_tensors
        angle = x * (2 * alpha)
        # sin² = (1 - cos 2αx) / 2
        square = (angle.cos() - 1).mul_(gradient).sum((0, 2), keepdim=True, dtype=torch.float32)
        slope = angle.sin_().mul_(gradient)
        to_alpha = (slope * x).sum((0, 2), keepdim=True, dtype=torch.float32) * (share * alpha).float()
        to_beta = 0.5 * square * share.float()
        return slope.mul_(share * alpha).add_(gradient), to_alpha, to_beta


class TrainingSnake(torch.nn.Module):
    """`Snake1d` on the same parameters."""

    def __init__(self, snake: Snake1d) -> None:
        super().__init__()
        self.alpha, self.beta = snake.alpha, snake.beta

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, T]` to the same."""
        return _Snake.apply(x, self.alpha, self.beta)


def use_training_snake(module: torch.nn.Module) -> None:
    """Replace every `Snake1d`; the names of the parameters stay."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Snake1d):
                parent.set_submodule(name, TrainingSnake(child))
