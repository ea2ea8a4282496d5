"""Mixed precision in the recipes' trainings, on processors with and without instructions for bfloat16."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from unittest.mock import patch

import torch


def autocast(device: str | torch.device) -> torch.autocast:
    """bfloat16 where the device computes with it, else the parameters' own type.

    A processor without such instructions emulates them: a training step takes about ten times as long.
    """
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu" or _processor_has_bfloat16())


class Muon(torch.optim.Muon):
    """PyTorch's Muon, which orthogonalises in bfloat16; on a processor without its instructions, in float32."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], **options: Any) -> None:
        parameters = list(parameters)
        super().__init__(parameters, **options)
        self._emulates = parameters[0].device.type == "cpu" and not _processor_has_bfloat16()

    def step(self, closure: Any = None) -> Any:
        if not self._emulates:
            return super().step(closure)
        with patch("torch.optim._muon._zeropower_via_newtonschulz", orthogonalise):
            return super().step(closure)


def orthogonalise(
    update: torch.Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> torch.Tensor:
    """A matrix with the singular vectors of `update` and singular values near 1, by Newton-Schulz iterations."""
    a, b, c = coefficients
    is_tall = update.shape[0] > update.shape[1]
    x = update.T if is_tall else update
    x = x / x.norm().clamp_min(eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if is_tall else x


@lru_cache(maxsize=1)
def _processor_has_bfloat16() -> bool:
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))
