"""Another adapter in each row of one batch.

A row's adapters (none, one, or a blend) become one pair of matrices a layer: blending is concatenation along the
rank with each strength folded into B, so that whatever a row asks for costs two small matrix products. This is the
unmerged form of LoRA (Hu et al., 2021) with a pair for each row, as S-LoRA (Sheng et al., 2023) serves it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from models.adapter_file import InvalidAdapter
from models.adapters import AdapterWeights, LoraPair, linear_layers

# Ranks are padded to a multiple: with fewer columns a CPU's matrix product rounds differently, and a row's result would
# depend on whether another row's adapter is larger.
_RANK = 16

RowAdapters = Sequence[tuple[AdapterWeights, float]]


def check(root: torch.nn.Module, adapters: RowAdapters) -> None:
    """Make sure that one row's adapters can be attached, so that they cannot fail the whole batch.

    Raises:
        InvalidAdapter: `root` lacks one of their layers, or has it in another shape.
    """
    layers = linear_layers(root)
    for weights, _ in adapters:
        for name, pair in weights.pairs.items():
            if name not in layers:
                raise InvalidAdapter(f"{name} matches nothing in the model")
            shape = (layers[name].in_features, layers[name].out_features)
            if (pair.a.shape[0], pair.b.shape[1]) != shape or pair.a.shape[1] != pair.b.shape[0]:
                raise InvalidAdapter(f"{name} is {tuple(pair.a.shape)} × {tuple(pair.b.shape)}, not for {shape}")


def blend(adapters: RowAdapters) -> dict[str, LoraPair]:
    """One pair for each layer that any of a row's adapters changes. Strength 0 leaves no trace."""
    active = [(weights, strength) for weights, strength in adapters if strength]
    layers = sorted({name for weights, _ in active for name in weights.pairs})
    blended = {}
    for name in layers:
        parts = [(w.pairs[name], strength) for w, strength in active if name in w.pairs]
        blended[name] = LoraPair(
            torch.cat([pair.a for pair, _ in parts], dim=1),
            torch.cat([pair.b * strength for pair, strength in parts], dim=0),
        )
    return blended


def add(y: torch.Tensor, x: torch.Tensor, pair: LoraPair | None) -> torch.Tensor:
    """A layer's output `y` `[..., out]` for input `x` `[..., in]`, with one row's adapter added."""
    return y if pair is None else y + (x @ pair.a) @ pair.b


@contextmanager
def attached(root: torch.nn.Module, rows: Sequence[RowAdapters]) -> Iterator[RowHooks]:
    """Within the context, row i of every batch that passes through `root` is changed by `rows[i]`.

    For models whose layers see `[rows, tokens, features]`. Rows may be dropped on the way with `keep`.
    """
    hooks = RowHooks(root, rows)
    try:
        yield hooks
    finally:
        hooks.remove()


class RowHooks:
    """The pairs of all rows, stacked: `a` `[rows, in, rank]`, `b` `[rows, rank, out]`, smaller ranks zero-padded."""

    def __init__(self, root: torch.nn.Module, rows: Sequence[RowAdapters]) -> None:
        blended = [blend(row) for row in rows]
        self._handles = []
        self._stacks: dict[str, LoraPair] = {}
        for name, layer in linear_layers(root).items():
            if any(name in pairs for pairs in blended):
                self._stacks[name] = stack([pairs.get(name) for pairs in blended], layer)
                self._handles.append(layer.register_forward_hook(self._hook(name)))

    def keep(self, rows: torch.Tensor) -> None:
        """From now on the batch holds only these of its present rows, `[kept]` indices."""
        for name, stack in self._stacks.items():
            self._stacks[name] = LoraPair(stack.a[rows], stack.b[rows])

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, name: str):  # type: ignore[no-untyped-def]
        def add_rows(_layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...], y: torch.Tensor) -> torch.Tensor:
            stack, x = self._stacks[name], inputs[0]
            if x.shape[0] != stack.a.shape[0]:
                raise ValueError(f"{name}: a batch of {x.shape[0]} for {stack.a.shape[0]} rows of adapters")
            tokens = x.reshape(x.shape[0], -1, x.shape[-1])
            return torch.baddbmm(y.reshape(*tokens.shape[:2], -1), tokens @ stack.a, stack.b).reshape(y.shape)

        return add_rows


def stack(pairs: Sequence[LoraPair | None], layer: torch.nn.Linear) -> LoraPair:
    """A layer's pairs, a row each, as one: `a` `[rows, in, rank]`, `b` `[rows, rank, out]`; no pair is zeros."""
    rank = -(-max(pair.a.shape[1] for pair in pairs if pair is not None) // _RANK) * _RANK
    a = layer.weight.new_zeros(len(pairs), layer.in_features, rank)
    b = layer.weight.new_zeros(len(pairs), rank, layer.out_features)
    for row, pair in enumerate(pairs):
        if pair is not None:
            a[row, :, : pair.a.shape[1]] = pair.a
            b[row, : pair.b.shape[0]] = pair.b
    return LoraPair(a, b)
