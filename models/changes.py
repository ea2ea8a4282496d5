"""Changes of a layer's weight that are no pair of small matrices, by the names that PEFT's files give to their parts.

Whatever scale goes with them is folded in, as in every adapter file here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from models.adapter_file import InvalidAdapter


class Change(Protocol):
    def of(self, weight: Tensor) -> Tensor:
        """What is added to the layer's `weight` `[out, in]` at strength 1."""
        ...

    @property
    def nbytes(self) -> int: ...


@dataclass(frozen=True)
class Dora:
    """Direction and magnitude (Liu et al., 2024): `up` `[out, rank]`, `down` `[rank, in]`, `magnitude` `[out]`."""

    up: Tensor
    down: Tensor
    magnitude: Tensor

    def of(self, weight: Tensor) -> Tensor:
        base = weight.float()
        moved = base + self.up.float() @ self.down.float()
        norm = moved.norm(dim=1, keepdim=True)
        return (moved * (self.magnitude.float()[:, None] / norm) - base).to(weight.dtype)

    @property
    def nbytes(self) -> int:
        return self.up.nbytes + self.down.nbytes + self.magnitude.nbytes


@dataclass(frozen=True)
class Kronecker:
    """LoKr: a product of two smaller matrices by blocks."""

    one: Tensor
    two: Tensor

    def of(self, weight: Tensor) -> Tensor:
        return torch.kron(self.one, self.two).to(weight.dtype)

    @property
    def nbytes(self) -> int:
        return self.one.nbytes + self.two.nbytes


@dataclass(frozen=True)
class Hadamard:
    """LoHa: two low-rank matrices multiplied element by element."""

    one: tuple[Tensor, Tensor]
    two: tuple[Tensor, Tensor]

    def of(self, weight: Tensor) -> Tensor:
        return ((self.one[0] @ self.one[1]) * (self.two[0] @ self.two[1])).to(weight.dtype)

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in (*self.one, *self.two))


def read(module: str, parts: Mapping[str, Tensor], layer: torch.nn.Linear) -> Change:
    """The change that a layer's tensors make, by the last parts of their names.

    Raises:
        InvalidAdapter: they are no change that is known here, or not one of this layer.
    """
    try:
        # By their shapes alone at first: the product of two matrices that do not belong here may be of any size.
        shapes = {name: part.to("meta") for name, part in parts.items()}
        shape = _change(module, shapes).of(layer.weight.to("meta")).shape
    except (RuntimeError, IndexError) as error:
        raise InvalidAdapter(f"{module}: its parts do not fit together: {str(error).splitlines()[0]}") from error
    if shape != layer.weight.shape:
        raise InvalidAdapter(f"{module} is for a layer of {tuple(shape)}, the model's has {tuple(layer.weight.shape)}")
    return _change(module, {name: part.to(layer.weight.device) for name, part in parts.items()})


def _change(module: str, parts: Mapping[str, Tensor]) -> Change:
    names = set(parts)
    if names == {"lora_A.weight", "lora_B.weight", "lora_magnitude_vector"}:
        return Dora(parts["lora_B.weight"], parts["lora_A.weight"], parts["lora_magnitude_vector"])
    if names == {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}:
        return Hadamard((parts["hada_w1_a"], parts["hada_w1_b"]), (parts["hada_w2_a"], parts["hada_w2_b"]))
    if names and all(name.startswith("lokr_w") for name in names):
        return Kronecker(_factor("lokr_w1", parts), _factor("lokr_w2", parts))
    raise InvalidAdapter(f"{module}: {', '.join(sorted(names))} is no adapter that is known here")


def _factor(name: str, parts: Mapping[str, Tensor]) -> Tensor:
    if name in parts:
        return parts[name]
    if f"{name}_a" in parts and f"{name}_b" in parts:
        return parts[f"{name}_a"] @ parts[f"{name}_b"]
    raise InvalidAdapter(f"it lacks {name}")
