"""Layers that read the same input as one: one matrix product for all of them, and two for all their adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from adapters.batched_lora import Pairs, Weights
from adapters.weights import FlatPairs, LoraPair, Shape

# The layers that a product is made of, by its name, in the order of their outputs.
Groups = Mapping[str, Sequence[str]]


def together(layers: Sequence[Any]) -> Tensor | None:
    """The weights of layers, or of embeddings, as one tensor `[out of all, …]`, of which they become parts.

    It takes no more memory. Layers with a bias, in training, or of different kinds are left as they are.
    """
    if any(layer.weight.requires_grad for layer in layers):
        return None
    weights = [layer.weight.detach() for layer in layers]
    kinds = {(weight.dtype, weight.device, weight.shape[1:]) for weight in weights}
    if len(kinds) > 1 or any(getattr(layer, "bias", None) is not None for layer in layers):
        return None
    whole = _whole(weights)
    if whole is None:
        # What is made in inference mode could not be trained with.
        with torch.inference_mode(False):
            whole = torch.cat(weights)
        for layer, part in zip(layers, whole.split([len(weight) for weight in weights]), strict=True):
            layer.weight = torch.nn.Parameter(part, requires_grad=False)
    return whole


def _whole(weights: Sequence[Tensor]) -> Tensor | None:
    """The tensor in which they lie end to end, if they do."""
    first, end = weights[0], weights[0].storage_offset()
    for weight in weights:
        if not weight.is_contiguous() or weight.storage_offset() != end or _storage(weight) != _storage(first):
            return None
        end += weight.numel()
    return first.as_strided((sum(map(len, weights)), *first.shape[1:]), first.stride())


def _storage(weight: Tensor) -> int:
    return weight.untyped_storage()._cdata


def grouped(root: torch.nn.Module, pairs: Pairs, groups: Groups) -> Pairs:
    """One pair for each group of which a layer has one; what is in no group is left out.

    The group's `a` has the columns of all its layers' side by side, and its `b` their rows, each beside zeros for the
    other layers' outputs.
    """
    found = {name: [layer for layer in layers if layer in pairs] for name, layers in groups.items()}
    shapes: dict[str, Shape] = {
        name: (
            len(pairs[layers[0]].a),
            sum(len(pairs[layer].b) for layer in layers),
            sum(_outputs(root, layer) for layer in groups[name]),
        )
        for name, layers in sorted(found.items())
        if layers
    }
    if not shapes:
        return {}
    like = next(iter(pairs.values())).a
    whole = FlatPairs(shapes, like.new_zeros(FlatPairs.size(shapes)))
    for name in shapes:
        rank = output = 0
        for layer in groups[name]:
            end = output + _outputs(root, layer)
            if layer in pairs:
                pair, to = pairs[layer], rank + len(pairs[layer].b)
                whole[name].a[:, rank:to] = pair.a
                whole[name].b[rank:to, output:end] = pair.b
                rank = to
            output = end
    return whole


def _outputs(root: torch.nn.Module, layer: str) -> int:
    features: Any = root.get_submodule(layer).out_features
    return int(features)


@dataclass(frozen=True)
class Product:
    """What layers make of the input that they share, side by side, with each row's adapter added.

    Attributes:
        layers: what is asked where `weight` is none, one after the other.
        weights: `[out, in]` for those of them that have another weight than their own.
        weight: `[out of all, in]`.
        pair: `[rows, in, rank]` and `[rows, rank, out of all]`.
    """

    layers: tuple[Any, ...]
    weights: tuple[Tensor | None, ...]
    weight: Tensor | None
    pair: LoraPair | None

    @classmethod
    def of(cls, root: torch.nn.Module, names: Sequence[str], weights: Weights, pair: LoraPair | None) -> Product:
        layers = tuple(root.get_submodule(name) for name in names)
        own = tuple(weights.get(name) for name in names)
        plain = all(type(layer) is torch.nn.Linear for layer in layers)
        weight = together(layers) if plain and not any(name in weights for name in names) else None
        return cls(layers, own, weight, pair)

    def __call__(self, x: Tensor) -> Tensor:
        """`[rows, n, in]` to `[rows, n, out of all]`."""
        if self.weight is not None:
            return self._adapted(linear(x, self.weight), x)
        parts = [
            layer(x) if weight is None else linear(x, weight, layer.bias)
            for layer, weight in zip(self.layers, self.weights, strict=True)
        ]
        return self._adapted(parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1), x)

    def add_to(self, residual: Tensor, x: Tensor) -> None:
        """Add what it makes of `x` to `residual` `[rows, n, out of all]`, in place: not where gradients are wanted."""
        if self.weight is None:
            residual += self(x)
            return
        residual.view(-1, len(self.weight)).addmm_(x.reshape(-1, x.shape[-1]), self.weight.t())
        if self.pair is not None:
            residual.baddbmm_(torch.bmm(x, self.pair.a), self.pair.b)

    def _adapted(self, y: Tensor, x: Tensor) -> Tensor:
        """`y` with what the rows' adapters make of `x` added."""
        return y if self.pair is None else torch.baddbmm(y, torch.bmm(x, self.pair.a), self.pair.b)
