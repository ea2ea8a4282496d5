"""Adapters with random weights, of the size that training makes."""

from __future__ import annotations

from typing import Any

import torch

from adapters.adapter_file import Header
from adapters.delta_weights import DoraDelta, LoraDelta
from adapters.weights import AdapterWeights, LoraPair, linear_layers
from models.base import Model

RANK = 16
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "q_proj", "k_proj", "v_proj", "out_proj")
# About the size of a trained adapter's, relative to a weight's.
_STRENGTH = 0.1


def random_adapter(model: Model[Any], seed: int, dora: bool = False) -> AdapterWeights:
    """An adapter of rank 16 on all attention layers, as LoRA or as DoRA."""
    generator = torch.Generator().manual_seed(seed)
    pairs, deltas = {}, {}
    for name, layer in linear_layers(model.adapted).items():
        if not name.endswith(ATTENTION):
            continue
        a = torch.randn(layer.in_features, RANK, generator=generator) * layer.in_features**-0.5
        b = torch.randn(RANK, layer.out_features, generator=generator) * _STRENGTH * RANK**-0.5
        a, b = (part.to(model.device, model.dtype) for part in (a, b))
        if dora:
            magnitude = layer.weight.float().norm(dim=1, keepdim=True).to(model.dtype)
            deltas[name] = DoraDelta(LoraDelta(b.T, a.T), magnitude)
        else:
            pairs[name] = LoraPair(a, b)
    digest = f"random-{seed}-{dora}"
    header = Header("verification", "random", model.backend, "", "0", RANK, "", "2026-01-01T00:00:00+00:00", digest)
    return AdapterWeights(header, pairs, deltas)
