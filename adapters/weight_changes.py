"""Changes of a layer's weight that are no pair of small matrices, by the names that PEFT's files give to their parts.

Whatever scale goes with them is folded in, as in every adapter file here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from adapters.adapter_file import InvalidAdapter


class Change(Protocol):
    def of(self, weight: Tensor) -> Tensor:
        """What is added to the layer's `weight` `[out, in]` at strength 1."""
        ...

    @property
    def nbytes(self) -> int: ...


@dataclass(frozen=True)
class Product:
    """LoRA: `up` `[out, rank]`, `down` `[rank, in]`."""

    up: Tensor
    down: Tensor

    def of(self, weight: Tensor) -> Tensor:
        return (self.up.float() @ self.down.float()).to(weight.dtype)

    @property
    def nbytes(self) -> int:
        return self.up.nbytes + self.down.nbytes


@dataclass(frozen=True)
class Decomposed:
    """DoRA (Liu et al., 2024): another change gives the direction, `magnitude` the length.

    The magnitude is of each output, `[out, 1]`, as PEFT has it, or of each input, `[1, in]`, as LyCORIS may.
    """

    direction: Change
    magnitude: Tensor

    def of(self, weight: Tensor) -> Tensor:
        base = weight.float()
        moved = base + self.direction.of(base)
        norm = moved.norm(dim=1 if self.magnitude.shape[0] == len(base) else 0, keepdim=True)
        # LyCORIS adds as much, so that what has no length stays finite.
        norm = norm + torch.finfo(norm.dtype).eps
        return (moved * (self.magnitude.float() / norm) - base).to(weight.dtype)

    @property
    def nbytes(self) -> int:
        return self.direction.nbytes + self.magnitude.nbytes


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
        shape = _change(module, shapes, layer.weight.shape).of(layer.weight.to("meta")).shape
    except (RuntimeError, IndexError) as error:
        raise InvalidAdapter(f"{module}: its parts do not fit together: {str(error).splitlines()[0]}") from error
    if shape != layer.weight.shape:
        raise InvalidAdapter(f"{module} is for a layer of {tuple(shape)}, the model's has {tuple(layer.weight.shape)}")
    return _change(module, {name: part.to(layer.weight.device) for name, part in parts.items()}, layer.weight.shape)


_HALVES = {"lora_A.weight", "lora_B.weight"}
_HADAMARD = {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}


def _change(module: str, parts: Mapping[str, Tensor], shape: torch.Size) -> Change:
    """The layer's change; `shape`: of its weight."""
    parts = dict(parts)
    vector, magnitude = parts.pop("lora_magnitude_vector", None), parts.pop("dora_scale", None)
    if vector is not None and magnitude is None and parts.keys() == _HALVES:
        magnitude, vector = vector.reshape(-1, 1), None
    direction = _direction(module, parts)
    if direction is None or vector is not None:
        raise InvalidAdapter(f"{module}: {', '.join(sorted(parts))} is no adapter that is known here")
    if magnitude is None:
        return direction
    if magnitude.shape not in ((shape[0], 1), (1, shape[1])):
        raise InvalidAdapter(
            f"{module}: its magnitude of {tuple(magnitude.shape)} is not for a weight of {tuple(shape)}"
        )
    return Decomposed(direction, magnitude)


def _direction(module: str, parts: Mapping[str, Tensor]) -> Change | None:
    names = set(parts)
    if names == _HALVES:
        return Product(parts["lora_B.weight"], parts["lora_A.weight"])
    if names == _HADAMARD:
        return Hadamard((parts["hada_w1_a"], parts["hada_w1_b"]), (parts["hada_w2_a"], parts["hada_w2_b"]))
    first, second = (_factor(name, parts, names) for name in ("lokr_w1", "lokr_w2"))
    if names or (first is None and second is None):
        return None
    if first is None or second is None:
        raise InvalidAdapter(f"{module} lacks {'lokr_w1' if first is None else 'lokr_w2'}")
    return Kronecker(first, second)


def _factor(name: str, parts: Mapping[str, Tensor], names: set[str]) -> Tensor | None:
    """One side of a Kronecker product, whole or as a product of two; its parts are taken out of `names`."""
    if name in names:
        names.remove(name)
        return parts[name]
    if {f"{name}_a", f"{name}_b"} <= names:
        names -= {f"{name}_a", f"{name}_b"}
        return parts[f"{name}_a"] @ parts[f"{name}_b"]
    return None
