"""An adapter's weights in memory, as a runner applies them. Reading and writing files: `adapters/serialization.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch

from adapters.adapter_file import Header
from adapters.delta_weights import DeltaWeight


@dataclass(frozen=True)
class LoraPair:
    """LoRA's two matrices for one layer: `y += (x @ a) @ b`.

    Attributes:
        a: `[in, rank]`, PEFT's `lora_A` transposed.
        b: `[rank, out]`, PEFT's `lora_B` transposed, with the scaling alpha / rank folded in.
    """

    a: torch.Tensor
    b: torch.Tensor


Shape = tuple[int, int, int]  # in, rank, out
# The layers of attention, and all others.
LayerKind = Literal["attention", "mlp"]


class FlatPairs(Mapping[str, LoraPair]):
    """LoRA pairs stored in one flat tensor, so that an adapter is copied into a batch in one operation.

    Attributes:
        shapes: layer name → shape of its pair. Its order is that of the matrices in `flat`: `a`, then `b`.
        flat: `[…, size]`. The matrices are views of it and have its leading dimensions.
    """

    def __init__(self, shapes: Mapping[str, Shape], flat: torch.Tensor) -> None:
        self.shapes, self.flat = shapes, flat

    @classmethod
    def of(cls, pairs: Mapping[str, LoraPair]) -> FlatPairs:
        """Copy pairs, of which there must be at least one, into a new flat tensor."""
        shapes = {name: (*pair.a.shape, pair.b.shape[1]) for name, pair in sorted(pairs.items())}
        return cls(shapes, torch.cat([part.flatten() for name in shapes for part in (pairs[name].a, pairs[name].b)]))

    @staticmethod
    def size(shapes: Mapping[str, Shape]) -> int:
        """The number of elements of a flat tensor of these shapes."""
        return sum(rank * (inputs + outputs) for inputs, rank, outputs in shapes.values())

    @cached_property
    def _pairs(self) -> dict[str, LoraPair]:
        sizes = [size for inputs, rank, outputs in self.shapes.values() for size in (inputs * rank, rank * outputs)]
        parts = iter(self.flat.split(sizes, dim=-1))
        return {
            name: LoraPair(next(parts).unflatten(-1, (inputs, rank)), next(parts).unflatten(-1, (rank, outputs)))
            for name, (inputs, rank, outputs) in self.shapes.items()
        }

    def __getitem__(self, name: str) -> LoraPair:
        return self._pairs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


@dataclass(frozen=True)
class AdapterWeights:
    """An adapter that was checked against a model. Its layers are named as in `model.adapted`.

    Attributes:
        header: the file's header.
        pairs: layer name → LoRA pair.
        deltas: layer name → weight difference of another kind (DoRA, LoKr, LoHa). A row with such an adapter is
            batched only with rows that have the very same adapters.
        kind: the kind of layers that it was reduced to; None if it has all of its file.
    """

    header: Header
    pairs: Mapping[str, LoraPair]
    deltas: Mapping[str, DeltaWeight] = field(default_factory=dict)
    kind: LayerKind | None = None

    @cached_property
    def nbytes(self) -> int:
        pairs = sum(pair.a.nbytes + pair.b.nbytes for pair in self.pairs.values())
        return pairs + sum(delta.nbytes for delta in self.deltas.values())

    @property
    def identity(self) -> tuple[str, LayerKind | None]:
        """Equal for adapters of equal content."""
        return self.header.sha256, self.kind

    def only(self, kind: LayerKind) -> AdapterWeights:
        """The adapter without its layers of the other kind; the tensors are shared."""
        pairs = {name: pair for name, pair in self.pairs.items() if kind_of_layer(name) == kind}
        deltas = {name: delta for name, delta in self.deltas.items() if kind_of_layer(name) == kind}
        return AdapterWeights(self.header, pairs, deltas, kind)


def kind_of_layer(name: str) -> LayerKind:
    """The kind of a layer: `attention` in modules such as `self_attn` and `encoder_attn`, else `mlp`."""
    return "attention" if any(part.endswith("attn") for part in name.split(".")) else "mlp"


def linear_layers(root: torch.nn.Module) -> dict[str, torch.nn.Linear]:
    """The Linear layers under `root` by name: the layers that adapters may change."""
    return {name: module for name, module in root.named_modules() if isinstance(module, torch.nn.Linear)}
