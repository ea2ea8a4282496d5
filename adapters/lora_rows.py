"""Another adapter in each row of one batch.

A row's adapters (none, one, or a blend) become one pair of matrices a layer: blending is concatenation along the
rank with each strength folded into B, so that whatever a row asks for costs two small matrix products. This is the
unmerged form of LoRA (Hu et al., 2021) with a pair for each row, as S-LoRA (Sheng et al., 2023) serves it.

What is no pair of small matrices runs in a lane of its own: a batch whose rows all have these very adapters, and for
which the layers' weights are made once. The model's own weights are never touched.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch

from adapters.adapter_file import InvalidAdapter
from adapters.tensors import AdapterWeights, FlatPairs, LoraPair, Shape, linear_layers

# Ranks are padded to a multiple: with fewer columns a CPU's matrix product rounds differently, and a row's result would
# depend on whether another row's adapter is larger.
_RANK = 16
# Above this a row does not mix with others: all of them would pay for its rank.
MIXED_RANK = 64

RowAdapters = Sequence[tuple[AdapterWeights, float]]
Pairs = Mapping[str, LoraPair]
Weights = Mapping[str, torch.Tensor]


def check(root: torch.nn.Module, adapters: RowAdapters) -> None:
    """Make sure that one row's adapters can be attached, so that they cannot fail the whole batch.

    Raises:
        InvalidAdapter: `root` lacks one of their layers, or has it in another shape.
    """
    layers = linear_layers(root)
    for weights, _ in adapters:
        for name in (*weights.pairs, *weights.changes):
            if name not in layers:
                raise InvalidAdapter(f"{name} matches nothing in the model")
        for name, pair in weights.pairs.items():
            shape = (layers[name].in_features, layers[name].out_features)
            if (pair.a.shape[0], pair.b.shape[1]) != shape or pair.a.shape[1] != pair.b.shape[0]:
                raise InvalidAdapter(f"{name} is {tuple(pair.a.shape)} × {tuple(pair.b.shape)}, not for {shape}")


def batch_key(adapters: RowAdapters) -> Hashable:
    """What the other rows of a batch must have in common with a row of these adapters; `None` where they mix."""
    active = [(weights, strength) for weights, strength in adapters if strength]
    if any(weights.changes for weights, _ in active):
        return tuple((weights.header.sha256, strength) for weights, strength in active)
    ranks: dict[str, int] = {}
    for weights, _ in active:
        for name, pair in weights.pairs.items():
            ranks[name] = ranks.get(name, 0) + pair.a.shape[1]
    return "large" if max(ranks.values(), default=0) > MIXED_RANK else None


def blend(adapters: RowAdapters) -> Pairs:
    """One pair for each layer that any of a row's adapters changes, ready for `stacks`. Strength 0 leaves no trace.

    One adapter at strength 1 is not copied.
    """
    active = [(weights, strength) for weights, strength in adapters if strength and weights.pairs]
    if not active:
        return {}
    blended = active[0][0].pairs
    if len(active) > 1 or active[0][1] != 1:
        blended = {
            name: _blended([(weights.pairs[name], strength) for weights, strength in active if name in weights.pairs])
            for name in {name for weights, _ in active for name in weights.pairs}
        }
    together = _together([blended], next(iter(blended.values())).a)
    return FlatPairs(together.shapes, together.flat[0])


def _blended(parts: Sequence[tuple[LoraPair, float]]) -> LoraPair:
    return LoraPair(
        torch.cat([pair.a for pair, _ in parts], dim=1),
        torch.cat([pair.b * strength for pair, strength in parts], dim=0),
    )


def changed(root: torch.nn.Module, adapters: RowAdapters) -> dict[str, torch.Tensor]:
    """The weights `[out, in]` of the layers that a row's adapters change in another way than by a pair."""
    layers = linear_layers(root)
    weights: dict[str, torch.Tensor] = {}
    for adapter, strength in adapters:
        for name, change in adapter.changes.items() if strength else ():
            base = layers[name].weight
            weights[name] = weights.get(name, base) + strength * change.of(base)
    return weights


def linear(layer: torch.nn.Linear, x: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """The layer with its own weight, or with another."""
    return layer(x) if weight is None else torch.nn.functional.linear(x, weight, layer.bias)


def add(y: torch.Tensor, x: torch.Tensor, pair: LoraPair | None) -> torch.Tensor:
    """A layer's output `y` `[..., out]` for input `x` `[..., in]`, with one row's adapter added."""
    return y if pair is None else y + (x @ pair.a) @ pair.b


def stacks(root: torch.nn.Module, rows: Sequence[Pairs]) -> Pairs:
    """The pairs of every layer that any row's adapter changes, a row each, as one: `a` `[rows, in, rank]`, `b` `[rows,
    rank, out]`; no pair is zeros. A row alone is not copied."""
    return _together(rows, next(root.parameters())) if any(rows) else {}


def write(room: FlatPairs, row: int, pairs: Pairs) -> None:
    """Copy a row's pairs to their place in `room`: in one operation where it has room for nothing else."""
    place = room.flat[row]
    if isinstance(pairs, FlatPairs) and pairs.shapes == room.shapes:
        place.copy_(pairs.flat)
        return
    place.zero_()
    for name, pair in pairs.items():
        rank = len(pair.b)
        room[name].a[row, :, :rank] = pair.a
        room[name].b[row, :rank] = pair.b


def _together(rows: Sequence[Pairs], like: torch.Tensor) -> FlatPairs:
    """`stacks` of rows of which one has a pair, on the device and in the dtype of `like`."""
    shapes = _shapes(rows)
    first = rows[0]
    if len(rows) == 1 and isinstance(first, FlatPairs) and first.shapes == shapes:
        return FlatPairs(shapes, first.flat[None].to(like))
    room = FlatPairs(shapes, like.new_empty(len(rows), FlatPairs.size(shapes)))
    for row, pairs in enumerate(rows):
        write(room, row, pairs)
    return room


def _shapes(rows: Sequence[Pairs]) -> dict[str, Shape]:
    """Each layer's pair's, with room for the largest of its ranks, by name."""
    shapes: dict[str, Shape] = {}
    for pairs in {id(pairs): pairs for pairs in rows}.values():
        for name, pair in pairs.items():
            rank = -(-len(pair.b) // _RANK) * _RANK
            if name not in shapes or shapes[name][1] < rank:
                shapes[name] = (len(pair.a), rank, pair.b.shape[1])
    return dict(sorted(shapes.items()))
