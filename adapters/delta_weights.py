"""ΔW of one layer: LoRA, DoRA, LoKr, LoHa and OFT by their formulas, from tensors named as in PEFT's files.

The scaling is folded into the tensors, as in every adapter file here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from adapters.adapter_file import LOHA_PARTS, LORA_PARTS, InvalidAdapter


class DeltaWeight(Protocol):
    """What an adapter adds to a layer's weight."""

    def of(self, weight: Tensor) -> Tensor:
        """ΔW at strength 1 for the layer's `weight` `[out, in]`, in its dtype."""
        ...

    @property
    def nbytes(self) -> int: ...


@dataclass(frozen=True)
class LoraDelta:
    """LoRA (Hu et al., 2021, arXiv:2106.09685): `up` `[out, rank]` @ `down` `[rank, in]`."""

    up: Tensor
    down: Tensor

    def of(self, weight: Tensor) -> Tensor:
        return (self.up.float() @ self.down.float()).to(weight.dtype)

    @property
    def nbytes(self) -> int:
        return self.up.nbytes + self.down.nbytes


@dataclass(frozen=True)
class DoraDelta:
    """DoRA (Liu et al., 2024, arXiv:2402.09353): `direction` gives the weight's direction, `magnitude` its norm.

    Attributes:
        direction: ΔW before normalisation.
        magnitude: the norm of each output `[out, 1]`, as in PEFT, or of each input `[1, in]`, as LyCORIS allows.
    """

    direction: DeltaWeight
    magnitude: Tensor

    def of(self, weight: Tensor) -> Tensor:
        base = weight.float()
        moved = base + self.direction.of(base)
        norm = moved.norm(dim=1 if self.magnitude.shape[0] == len(base) else 0, keepdim=True)
        # LyCORIS adds the same epsilon, so that a row of zeros stays finite.
        norm = norm + torch.finfo(norm.dtype).eps
        return (moved * (self.magnitude.float() / norm) - base).to(weight.dtype)

    @property
    def nbytes(self) -> int:
        return self.direction.nbytes + self.magnitude.nbytes


@dataclass(frozen=True)
class LokrDelta:
    """LoKr (LyCORIS, Yeh et al., 2023, arXiv:2309.14859): the Kronecker product of two smaller matrices."""

    w1: Tensor
    w2: Tensor

    def of(self, weight: Tensor) -> Tensor:
        return torch.kron(self.w1, self.w2).to(weight.dtype)

    @property
    def nbytes(self) -> int:
        return self.w1.nbytes + self.w2.nbytes


@dataclass(frozen=True)
class LohaDelta:
    """LoHa (FedPara, Hyeon-Woo et al., 2021, arXiv:2108.06098): the Hadamard product of two low-rank matrices.

    Attributes:
        w1, w2: each as its two factors, `[out, rank]` and `[rank, in]`.
    """

    w1: tuple[Tensor, Tensor]
    w2: tuple[Tensor, Tensor]

    def of(self, weight: Tensor) -> Tensor:
        return ((self.w1[0] @ self.w1[1]) * (self.w2[0] @ self.w2[1])).to(weight.dtype)

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in (*self.w1, *self.w2))


@dataclass(frozen=True)
class OftDelta:
    """OFT (Qiu et al., 2023, arXiv:2306.07280): the weight's inputs or outputs are rotated in blocks.

    Attributes:
        rotation: `[blocks, size, size]`, applied to each input or output vector.
        of_inputs: it rotates the inputs, W' = W Rᵀ; otherwise the outputs, W' = R W.
        rescale: factor of each output afterwards, `[out, 1]`.
    """

    rotation: Tensor
    of_inputs: bool
    rescale: Tensor | None = None

    def of(self, weight: Tensor) -> Tensor:
        base, rotation = weight.float(), self.rotation.float()
        shape = rotation.shape[:2]
        if self.of_inputs:
            moved = torch.einsum("okn,kmn->okm", base.unflatten(1, shape), rotation).flatten(1)
        else:
            moved = torch.einsum("kni,kmn->kmi", base.unflatten(0, shape), rotation).flatten(0, 1)
        if self.rescale is not None:
            moved = moved * self.rescale.float()
        return (moved - base).to(weight.dtype)

    @property
    def nbytes(self) -> int:
        return self.rotation.nbytes + (0 if self.rescale is None else self.rescale.nbytes)


def read_delta(module: str, parts: Mapping[str, Tensor], layer: torch.nn.Linear) -> DeltaWeight:
    """ΔW of `layer` from its tensors, whose keys are the parts of their names after the module's.

    Raises:
        InvalidAdapter: the tensors are of no known kind, or do not fit the layer.
    """
    try:
        # On the meta device first: the product of two tensors that do not belong together may be of any size.
        shapes = {name: part.to("meta") for name, part in parts.items()}
        shape = _delta(module, shapes, layer.weight.shape).of(layer.weight.to("meta")).shape
    except (RuntimeError, IndexError) as error:
        raise InvalidAdapter(f"{module}: its parts do not fit together: {str(error).splitlines()[0]}") from error
    if shape != layer.weight.shape:
        raise InvalidAdapter(f"{module} is for a layer of {tuple(shape)}, the model's has {tuple(layer.weight.shape)}")
    return _delta(module, {name: part.to(layer.weight.device) for name, part in parts.items()}, layer.weight.shape)


def _delta(module: str, parts: Mapping[str, Tensor], shape: torch.Size) -> DeltaWeight:
    """ΔW of a layer whose weight has `shape`."""
    parts = dict(parts)
    vector, magnitude = parts.pop("lora_magnitude_vector", None), parts.pop("dora_scale", None)
    if vector is not None and magnitude is None and parts.keys() == LORA_PARTS:
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
    return DoraDelta(direction, magnitude)


def _direction(module: str, parts: Mapping[str, Tensor]) -> DeltaWeight | None:
    """ΔW without a magnitude; None if the tensors are of no known kind."""
    names = set(parts)
    if names == LORA_PARTS:
        return LoraDelta(parts["lora_B.weight"], parts["lora_A.weight"])
    if names == LOHA_PARTS:
        return LohaDelta((parts["hada_w1_a"], parts["hada_w1_b"]), (parts["hada_w2_a"], parts["hada_w2_b"]))
    rotation = names & {"oft_input", "oft_output"}
    if len(rotation) == 1 and names <= rotation | {"oft_rescale"}:
        (which,) = rotation
        return OftDelta(parts[which], which == "oft_input", parts.get("oft_rescale"))
    w1, w2 = (_lokr_factor(name, parts, names) for name in ("lokr_w1", "lokr_w2"))
    if names or (w1 is None and w2 is None):
        return None
    if w1 is None or w2 is None:
        raise InvalidAdapter(f"{module} lacks {'lokr_w1' if w1 is None else 'lokr_w2'}")
    return LokrDelta(w1, w2)


def _lokr_factor(name: str, parts: Mapping[str, Tensor], names: set[str]) -> Tensor | None:
    """One factor of a LoKr, stored whole or as a low-rank product. Its tensors are removed from `names`."""
    if name in names:
        names.remove(name)
        return parts[name]
    if {f"{name}_a", f"{name}_b"} <= names:
        names -= {f"{name}_a", f"{name}_b"}
        return parts[f"{name}_a"] @ parts[f"{name}_b"]
    return None
