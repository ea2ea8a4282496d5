"""Fuses Linear layers that read the same input: one matrix product for all of them, and two for all their adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from adapters.batched_lora import Pairs, Weights, apply_linear
from adapters.weights import FlatPairs, LoraPair, Shape

# Name of a fused layer → names of its layers, in the order of their outputs.
Groups = Mapping[str, Sequence[str]]


def fuse_weights(layers: Sequence[Any]) -> Tensor | None:
    """Concatenate the weights of layers or embeddings to `[total out, …]`; their own weights become views of it.

    It takes no additional memory. Returns None, and changes nothing, if a layer has a bias or is trained, or if the
    weights differ in dtype, device or input size.
    """
    if any(layer.weight.requires_grad for layer in layers):
        return None
    weights = [layer.weight.detach() for layer in layers]
    kinds = {(weight.dtype, weight.device, weight.shape[1:]) for weight in weights}
    if len(kinds) > 1 or any(getattr(layer, "bias", None) is not None for layer in layers):
        return None
    fused = _fused_before(weights)
    if fused is None:
        # A tensor made in inference mode could not be used in training.
        with torch.inference_mode(False):
            fused = torch.cat(weights)
        for layer, part in zip(layers, fused.split([len(weight) for weight in weights]), strict=True):
            layer.weight = torch.nn.Parameter(part, requires_grad=False)
    return fused


def _fused_before(weights: Sequence[Tensor]) -> Tensor | None:
    """The tensor of which the weights are consecutive views, None if they are not."""
    first, end = weights[0], weights[0].storage_offset()
    for weight in weights:
        if not weight.is_contiguous() or weight.storage_offset() != end or _storage(weight) != _storage(first):
            return None
        end += weight.numel()
    return first.as_strided((sum(map(len, weights)), *first.shape[1:]), first.stride())


def _storage(weight: Tensor) -> int:
    return weight.untyped_storage()._cdata


def fuse_pairs(root: torch.nn.Module, pairs: Pairs, groups: Groups) -> Pairs:
    """Combine LoRA pairs by layer into pairs by fused layer. Pairs of layers in no group are left out.

    The columns of the layers' `a` are concatenated. Their `b` become a block diagonal matrix, since each layer's pair
    adds to its own outputs only.
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
    fused = FlatPairs(shapes, like.new_zeros(FlatPairs.size(shapes)))
    for name in shapes:
        rank = output = 0
        for layer in groups[name]:
            end = output + _outputs(root, layer)
            if layer in pairs:
                pair, to = pairs[layer], rank + len(pairs[layer].b)
                fused[name].a[:, rank:to] = pair.a
                fused[name].b[rank:to, output:end] = pair.b
                rank = to
            output = end
    return fused


def _outputs(root: torch.nn.Module, layer: str) -> int:
    features: Any = root.get_submodule(layer).out_features
    return int(features)


@dataclass(frozen=True)
class FusedLinear:
    """Layers that share an input, fused, with each row's LoRA added. Their outputs are concatenated.

    Attributes:
        layers: the layers, which run one after the other if they could not be fused.
        merged: for each layer its merged weight `[out, in]`, None if it uses its own.
        fused: the fused weight `[total out, in]`, None if the layers could not be fused.
        pair: the rows' LoRA pairs, `[rows, in, rank]` and `[rows, rank, total out]`.
    """

    layers: tuple[Any, ...]
    merged: tuple[Tensor | None, ...]
    fused: Tensor | None
    pair: LoraPair | None

    @classmethod
    def of(cls, root: torch.nn.Module, names: Sequence[str], weights: Weights, pair: LoraPair | None) -> FusedLinear:
        layers = tuple(root.get_submodule(name) for name in names)
        merged = tuple(weights.get(name) for name in names)
        plain = all(type(layer) is torch.nn.Linear for layer in layers)
        fused = fuse_weights(layers) if plain and not any(name in weights for name in names) else None
        return cls(layers, merged, fused, pair)

    def __call__(self, x: Tensor) -> Tensor:
        """`[rows, n, in]` to `[rows, n, total out]`."""
        if self.fused is not None:
            return self._adapted(linear(x, self.fused), x)
        parts = [apply_linear(layer, x, weight) for layer, weight in zip(self.layers, self.merged, strict=True)]
        return self._adapted(parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1), x)

    def add_to(self, residual: Tensor, x: Tensor) -> None:
        """Add the output for `x` to `residual` `[rows, n, total out]` in place. It has no gradients."""
        if self.fused is None:
            residual += self(x)
            return
        residual.view(-1, len(self.fused)).addmm_(x.reshape(-1, x.shape[-1]), self.fused.t())
        if self.pair is not None:
            residual.baddbmm_(torch.bmm(x, self.pair.a), self.pair.b)

    def _adapted(self, y: Tensor, x: Tensor) -> Tensor:
        """Add the rows' LoRA of the input `x` to the output `y`."""
        return y if self.pair is None else torch.baddbmm(y, torch.bmm(x, self.pair.a), self.pair.b)
