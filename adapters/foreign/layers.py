"""Converts the tensors of one layer, as other tools write them, to those of our files."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from adapters.adapter_file import InvalidAdapter
from adapters.foreign.oft import PARTS as OFT_PARTS
from adapters.foreign.oft import convert_oft, is_identity
from adapters.foreign.scaling import Scaling

# Above this rank LoRA's two products cost more than the layer itself.
MAX_RANK = 1024
# The scaling is folded into the first of these that a layer has.
SCALED = ("lora_B.weight", "hada_w1_a", "lokr_w1", "lokr_w1_a")
# Parts whose first dimension is the rank; the last one that a layer has counts.
_RANKED = ("lora_A.weight", "hada_w1_b", "hada_w2_b", "lokr_w1_b", "lokr_w2_b")
# Tucker decompositions of LyCORIS: the core, and the outer and the inner factor that it lies between.
_TUCKER_CORES = (
    ("hada_t1", "hada_w1_a", "hada_w1_b"),
    ("hada_t2", "hada_w2_a", "hada_w2_b"),
    ("lokr_t2", "lokr_w2_a", "lokr_w2_b"),
)


def rank_of(parts: Mapping[str, Tensor]) -> int | None:
    """The layer's rank, None if it is a LoKr of two whole matrices.

    Raises:
        InvalidAdapter: the rank is larger than supported, or a part is no matrix.
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


def convert_parts(
    parts: Mapping[str, Tensor], scaling: Scaling, name_in_file: str, shape: tuple[int, int]
) -> dict[str, Tensor]:
    """Convert a layer's parts to float32 matrices, with the scaling and Tucker cores folded in.

    Convolutions of width 1 become matrices.

    Args:
        name_in_file: the layer's name in the file.
        shape: shape of the layer's weight, `[out, in]`.

    Raises:
        InvalidAdapter: the parts do not fit together.
    """
    if parts.keys() & OFT_PARTS:
        return convert_oft(parts, scaling, name_in_file, shape)
    rank = rank_of(parts)
    flat = {part: _as_matrix(part, tensor) for part, tensor in parts.items()}
    factor = scaling.of(name_in_file, rank)
    if "scalar" in flat:
        factor *= float(flat.pop("scalar"))
    try:
        _fold_tucker_cores(flat)
    except RuntimeError as error:
        raise InvalidAdapter(f"{name_in_file}: its parts do not fit together: {str(error).splitlines()[0]}") from error
    _rename_magnitude(flat, name_in_file, shape)
    scaled = next((part for part in SCALED if part in flat), None)
    if scaled:
        flat[scaled] = flat[scaled] * factor
    return flat


def _as_matrix(part: str, tensor: Tensor) -> Tensor:
    tensor = tensor.float()
    if tensor.ndim <= 2:
        return tensor
    if tensor.shape[2:].numel() != 1:
        raise InvalidAdapter(f"its {part} of {tuple(tensor.shape)} is a convolution's, which cannot be used")
    return tensor.flatten(1)


def _fold_tucker_cores(flat: dict[str, Tensor]) -> None:
    if "lora_mid.weight" in flat:
        if "lora_A.weight" not in flat:
            raise InvalidAdapter("it has a lora_mid without its other parts")
        flat["lora_A.weight"] = flat.pop("lora_mid.weight") @ flat["lora_A.weight"]
    for core, outer, inner in _TUCKER_CORES:
        if core in flat:
            if outer not in flat or inner not in flat:
                raise InvalidAdapter(f"it has a {core} without its other parts")
            flat[outer], flat[inner] = flat[outer].T, flat.pop(core) @ flat[inner]


def _rename_magnitude(flat: dict[str, Tensor], name_in_file: str, shape: tuple[int, int]) -> None:
    """Give DoRA's magnitude PEFT's name and shape if it is by outputs and of a LoRA, otherwise LyCORIS'."""
    if "lora_magnitude_vector" in flat and "dora_scale" in flat:
        raise InvalidAdapter(f"{name_in_file}: it has two magnitudes")
    name = "dora_scale" if "dora_scale" in flat else "lora_magnitude_vector"
    if name not in flat:
        return
    magnitude = flat.pop(name)
    out, into = shape
    # Of a square layer the first dimension decides, as in LyCORIS.
    if magnitude.numel() == out and magnitude.ndim and magnitude.shape[0] == out:
        is_lora = "lora_A.weight" in flat
        flat["lora_magnitude_vector" if is_lora else "dora_scale"] = (
            magnitude.flatten() if is_lora else magnitude.reshape(-1, 1)
        )
    elif magnitude.numel() == into and name == "dora_scale":
        flat["dora_scale"] = magnitude.reshape(1, -1)
    else:
        raise InvalidAdapter(
            f"{name_in_file}: its {name} of {tuple(magnitude.shape)} is not for the model's layer of {into} → {out}"
        )


def is_zero(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the adapter changes nothing: each layer's product has a factor of zeros, or its rotation is none."""
    for key, tensor in tensors.items():
        part = key.rpartition(".")[2]
        if part in OFT_PARTS:
            if not is_identity(part, tensor):
                return False
        elif key.endswith(SCALED) and torch.any(tensor):
            return False
    return True
