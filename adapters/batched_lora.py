"""Batched LoRA: every row of a batch has its own adapter.

A row's adapters (none, one, or a blend) become one LoRA pair for each layer: blending concatenates the matrices along
the rank and multiplies each B by its strength. The pairs of all rows are stacked and applied by two batched matrix
products beside the layer's own, without merging them into its weight, as in Punica (Chen et al., 2023,
arXiv:2310.18547) and S-LoRA (Sheng et al., 2023, arXiv:2311.03285). The ranks are padded rather than handled by a
kernel of our own.

Adapters of other kinds (DoRA, LoKr, LoHa, OFT) have no such pairs. Their rows form a batch of their own, in which all
rows have the same adapters and share merged copies of the layers' weights (adapters/merged_weights.py). The model's own
weights never change.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch

from adapters.adapter_file import InvalidAdapter
from adapters.weights import AdapterWeights, FlatPairs, LoraPair, Shape, linear_layers

# Ranks are padded to a multiple of this: with fewer columns a CPU's matrix product rounds differently, so that a row's
# result would depend on the ranks of other rows.
_RANK_MULTIPLE = 16
# Rows of a larger rank are batched apart, because the padding would make all other rows pay for it.
MAX_SHARED_RANK = 64

RowAdapters = Sequence[tuple[AdapterWeights, float]]
Pairs = Mapping[str, LoraPair]  # by layer name
Weights = Mapping[str, torch.Tensor]  # by layer name


def check_adapters(root: torch.nn.Module, adapters: RowAdapters) -> None:
    """Check that a row's adapters fit the model, so that they cannot fail the whole batch.

    Raises:
        InvalidAdapter: `root` lacks one of their layers, or has it in another shape.
    """
    layers = linear_layers(root)
    for weights, _ in adapters:
        for name in (*weights.pairs, *weights.deltas):
            if name not in layers:
                raise InvalidAdapter(f"{name} matches nothing in the model")
        for name, pair in weights.pairs.items():
            shape = (layers[name].in_features, layers[name].out_features)
            if (pair.a.shape[0], pair.b.shape[1]) != shape or pair.a.shape[1] != pair.b.shape[0]:
                raise InvalidAdapter(f"{name} is {tuple(pair.a.shape)} × {tuple(pair.b.shape)}, not for {shape}")


def batch_key(adapters: RowAdapters) -> Hashable:
    """The key that rows must share to be in one batch: `None` for LoRA of a usual rank, which mixes freely."""
    active = [(weights, strength) for weights, strength in adapters if strength]
    if any(weights.deltas for weights, _ in active):
        return tuple((weights.identity, strength) for weights, strength in active)
    ranks: dict[str, int] = {}
    for weights, _ in active:
        for name, pair in weights.pairs.items():
            ranks[name] = ranks.get(name, 0) + pair.a.shape[1]
    return "large" if max(ranks.values(), default=0) > MAX_SHARED_RANK else None


def blend(adapters: RowAdapters) -> Pairs:
    """Blend a row's adapters into one pair for each layer, padded and flat, ready for `stack_pairs`.

    An adapter of strength 0 is left out, and a single one of strength 1 is not copied.
    """
    active = [(weights, strength) for weights, strength in adapters if strength and weights.pairs]
    if not active:
        return {}
    blended = active[0][0].pairs
    if len(active) > 1 or active[0][1] != 1:
        blended = {
            name: _blend_layer(
                [(weights.pairs[name], strength) for weights, strength in active if name in weights.pairs]
            )
            for name in {name for weights, _ in active for name in weights.pairs}
        }
    stacked = _stack([blended], next(iter(blended.values())).a)
    return FlatPairs(stacked.shapes, stacked.flat[0])


def _blend_layer(parts: Sequence[tuple[LoraPair, float]]) -> LoraPair:
    return LoraPair(
        torch.cat([pair.a for pair, _ in parts], dim=1),
        torch.cat([pair.b * strength for pair, strength in parts], dim=0),
    )


def apply_linear(layer: torch.nn.Linear, x: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Apply the layer, with the merged `weight` instead of its own if there is one."""
    return layer(x) if weight is None else torch.nn.functional.linear(x, weight, layer.bias)


def add_lora(y: torch.Tensor, x: torch.Tensor, pair: LoraPair | None) -> torch.Tensor:
    """Add one row's adapter to a layer's output `y` `[..., out]` for its input `x` `[..., in]`."""
    return y if pair is None else y + (x @ pair.a) @ pair.b


def stack_pairs(root: torch.nn.Module, rows: Sequence[Pairs]) -> Pairs:
    """Stack the rows' pairs: `a` `[rows, in, rank]` and `b` `[rows, rank, out]` for each layer that any row adapts.

    A row without a pair for the layer has zeros. A single row is not copied.
    """
    return _stack(rows, next(root.parameters())) if any(rows) else {}


def copy_into(stacked: FlatPairs, row: int, pairs: Pairs) -> None:
    """Copy a row's pairs into `stacked`, in one operation if both have the same layers and ranks."""
    target = stacked.flat[row]
    if isinstance(pairs, FlatPairs) and pairs.shapes == stacked.shapes:
        target.copy_(pairs.flat)
        return
    target.zero_()
    for name, pair in pairs.items():
        rank = len(pair.b)
        stacked[name].a[row, :, :rank] = pair.a
        stacked[name].b[row, :rank] = pair.b


def _stack(rows: Sequence[Pairs], like: torch.Tensor) -> FlatPairs:
    """Stack rows, at least one of which has a pair, on the device and in the dtype of `like`."""
    shapes = _stacked_shapes(rows)
    first = rows[0]
    if len(rows) == 1 and isinstance(first, FlatPairs) and first.shapes == shapes:
        return FlatPairs(shapes, first.flat[None].to(like))
    stacked = FlatPairs(shapes, like.new_empty(len(rows), FlatPairs.size(shapes)))
    for row, pairs in enumerate(rows):
        copy_into(stacked, row, pairs)
    return stacked


def _stacked_shapes(rows: Sequence[Pairs]) -> dict[str, Shape]:
    """Layer name → shape of its pair, with the largest rank of any row, padded."""
    shapes: dict[str, Shape] = {}
    for pairs in {id(pairs): pairs for pairs in rows}.values():
        for name, pair in pairs.items():
            rank = -(-len(pair.b) // _RANK_MULTIPLE) * _RANK_MULTIPLE
            if name not in shapes or shapes[name][1] < rank:
                shapes[name] = (len(pair.a), rank, pair.b.shape[1])
    return dict(sorted(shapes.items()))
