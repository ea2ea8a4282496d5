"""A layer's tensors as other tools write them, as the parts that our files have."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from adapters.adapter_file import InvalidAdapter
from adapters.foreign.scale import Scale

# Above this an adapter's two products cost more than the layer itself.
MAX_RANK = 1024
# The part that the scale goes into.
SCALED = ("lora_B.weight", "hada_w1_a", "lokr_w1", "lokr_w1_a")
# By the last of these that a layer has, its rank is known.
_RANKED = ("lora_A.weight", "hada_w1_b", "hada_w2_b", "lokr_w1_b", "lokr_w2_b")
# A core between two factors (Tucker's decomposition): its part, the outer factor, the inner one.
_CORES = (
    ("hada_t1", "hada_w1_a", "hada_w1_b"),
    ("hada_t2", "hada_w2_a", "hada_w2_b"),
    ("lokr_t2", "lokr_w2_a", "lokr_w2_b"),
)


def rank_of(parts: Mapping[str, Tensor]) -> int | None:
    """The inner dimension; None of a product of whole matrices.

    Raises:
        InvalidAdapter: it is larger than can be used, or a part is no matrix.
    """
    ranks = []
    for part in _RANKED:
        if part in parts:
            if parts[part].ndim < 2:
                raise InvalidAdapter(f"its {part} is no matrix")
            ranks.append(int(parts[part].shape[0]))
    if ranks and max(ranks) > MAX_RANK:
        raise InvalidAdapter(f"its rank is {max(ranks)}; {MAX_RANK} is the most: resize it (kohya's resize_lora.py)")
    return ranks[-1] if ranks else None


def folded(parts: Mapping[str, Tensor], scale: Scale, spelled: str, shape: tuple[int, int]) -> dict[str, Tensor]:
    """The layer's parts in float32, the scale folded in, cores multiplied in, and convolutions of width 1 as matrices.

    Args:
        spelled: the layer's name in the file.
        shape: of the layer's weight, `[out, in]`.

    Raises:
        InvalidAdapter: the parts do not fit together.
    """
    rank = rank_of(parts)
    flat = {part: _flat(part, tensor) for part, tensor in parts.items()}
    factor = scale.of(spelled, rank)
    if "scalar" in flat:
        factor *= float(flat.pop("scalar"))
    try:
        _fold_cores(flat)
    except RuntimeError as error:
        raise InvalidAdapter(f"{spelled}: its parts do not fit together: {str(error).splitlines()[0]}") from error
    _name_magnitude(flat, spelled, shape)
    scaled = next((part for part in SCALED if part in flat), None)
    if scaled:
        flat[scaled] = flat[scaled] * factor
    return flat


def _flat(part: str, tensor: Tensor) -> Tensor:
    tensor = tensor.float()
    if tensor.ndim <= 2:
        return tensor
    if tensor.shape[2:].numel() != 1:
        raise InvalidAdapter(f"its {part} of {tuple(tensor.shape)} is a convolution's, which cannot be used")
    return tensor.flatten(1)


def _fold_cores(flat: dict[str, Tensor]) -> None:
    if "lora_mid.weight" in flat:
        if "lora_A.weight" not in flat:
            raise InvalidAdapter("it has a lora_mid without its other parts")
        flat["lora_A.weight"] = flat.pop("lora_mid.weight") @ flat["lora_A.weight"]
    for core, outer, inner in _CORES:
        if core in flat:
            if outer not in flat or inner not in flat:
                raise InvalidAdapter(f"it has a {core} without its other parts")
            flat[outer], flat[inner] = flat[outer].T, flat.pop(core) @ flat[inner]


def _name_magnitude(flat: dict[str, Tensor], spelled: str, shape: tuple[int, int]) -> None:
    """DoRA's magnitude in PEFT's form where PEFT has one: of the outputs of a pair. LyCORIS' may be of the inputs."""
    if "lora_magnitude_vector" in flat and "dora_scale" in flat:
        raise InvalidAdapter(f"{spelled}: it has two magnitudes")
    name = "dora_scale" if "dora_scale" in flat else "lora_magnitude_vector"
    if name not in flat:
        return
    magnitude = flat.pop(name)
    out, into = shape
    # As LyCORIS tells them apart: of a square layer by the first dimension.
    if magnitude.numel() == out and magnitude.ndim and magnitude.shape[0] == out:
        pair = "lora_A.weight" in flat
        flat["lora_magnitude_vector" if pair else "dora_scale"] = (
            magnitude.flatten() if pair else magnitude.reshape(-1, 1)
        )
    elif magnitude.numel() == into and name == "dora_scale":
        flat["dora_scale"] = magnitude.reshape(1, -1)
    else:
        raise InvalidAdapter(
            f"{spelled}: its {name} of {tuple(magnitude.shape)} is not for the model's layer of {into} → {out}"
        )


def changes_nothing(canonical: Mapping[str, Tensor]) -> bool:
    return not any(bool(torch.any(tensor)) for key, tensor in canonical.items() if key.endswith(SCALED))
