"""Muon (Jordan et al. 2024) for convolutions: torch's own takes matrices only."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5
SIZE = 0.2
"""Root mean square of an update at a learning rate of 1, about that of AdamW."""


class ConvolutionMuon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal, each kernel `[out, in, k]` taken as a matrix `[out, in * k]`."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                average = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(average, group["momentum"])
                update = orthogonal(ahead.flatten(1)).view_as(parameter)
                scale = SIZE * max(update.shape[0], update[0].numel()) ** 0.5
                parameter.add_(update, alpha=-group["lr"] * scale)


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix `[n, m]` with singular values near 1 in the place of its own, by Newton and Schulz's iteration."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-12)
    a, b, c = _COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


MUON_RATE, ADAM_RATE = 3e-3, 1.5e-3
"""Peaks."""


def codec_optimizers(module: torch.nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the kernels' directions, AdamW for their lengths, biases and activations."""
    trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    kernels = [parameter for name, parameter in trained.items() if name.endswith("weight_v")]
    rest = [parameter for name, parameter in trained.items() if not name.endswith("weight_v")]
    adam = torch.optim.AdamW(rest, lr=ADAM_RATE, betas=(0.8, 0.98), weight_decay=0, fused=True)
    return [ConvolutionMuon(kernels, MUON_RATE), adam]


def descend(optimizers: list[torch.optim.Optimizer], module: torch.nn.Module, share: float) -> None:
    """One step at a share of the peak rates, from the gradients that there are."""
    torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    for optimizer, peak in zip(optimizers, (MUON_RATE, ADAM_RATE), strict=True):
        optimizer.param_groups[0]["lr"] = share * peak
        optimizer.step()
        optimizer.zero_grad()
