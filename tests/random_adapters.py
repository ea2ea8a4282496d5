"""Adapters with random weights."""

from __future__ import annotations

import torch

from adapters.adapter_file import Header
from adapters.weights import AdapterWeights, LoraPair, linear_layers
from models.base import Model


def header(backend: str, rank: int) -> Header:
    return Header("p", "m", backend, "starter", "0", rank, "job", "2026-01-01T00:00:00+00:00", "")


def random_adapter(model: Model, rank: int, seed: int, targets: tuple[str, ...]) -> AdapterWeights:
    """A LoRA of the layers whose names end in one of `targets`"""
    generator = torch.Generator().manual_seed(seed)
    pairs = {
        name: LoraPair(
            torch.randn(layer.in_features, rank, generator=generator) / layer.in_features**0.5,
            torch.randn(rank, layer.out_features, generator=generator) / rank**0.5,
        )
        for name, layer in linear_layers(model.adapted).items()
        if name.endswith(targets)
    }
    return AdapterWeights(header(model.backend, rank), pairs)
