"""OFT (Qiu et al., 2023, arXiv:2306.07280) as PEFT and LyCORIS (Diag-OFT) write it, to the rotations of our files.

Both store skew-symmetric blocks, whose Cayley transforms are rotations. PEFT rotates a layer's inputs and approximates
the transform by a series unless told otherwise; LyCORIS rotates its outputs and may scale them afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt

import torch
from torch import Tensor

from adapters.adapter_file import InvalidAdapter
from adapters.foreign.scaling import Scaling

PARTS = frozenset({"oft_R", "oft_blocks", "rescale", "oft_input", "oft_output", "oft_rescale"})


def convert_oft(
    parts: Mapping[str, Tensor], scaling: Scaling, name_in_file: str, shape: tuple[int, int]
) -> dict[str, Tensor]:
    """Convert a layer's OFT to `oft_input` or `oft_output` `[blocks, size, size]`, and `oft_rescale` `[out, 1]`.

    Args:
        shape: shape of the layer's weight, `[out, in]`.

    Raises:
        InvalidAdapter: the parts are not those of one OFT.
    """
    found = {part: tensor.float() for part, tensor in parts.items()}
    rotations = found.keys() & {"oft_R", "oft_blocks", "oft_input", "oft_output"}
    if len(rotations) != 1 or not found.keys() <= PARTS:
        raise InvalidAdapter(f"{name_in_file}: {', '.join(sorted(found))} are not the parts of one OFT")
    out, into = shape
    converted: dict[str, Tensor] = {}
    if "oft_R" in found:
        converted["oft_input"] = _of_peft(found["oft_R"], scaling, name_in_file, into)
    elif "oft_blocks" in found:
        constraint = scaling.alphas.get(name_in_file, 0.0) * out
        converted["oft_output"] = _of_lycoris(found["oft_blocks"], constraint, name_in_file, out)
    else:
        converted |= {part: found[part] for part in rotations}
    rescale = found.get("rescale", found.get("oft_rescale"))
    if rescale is not None:
        if rescale.numel() != out:
            raise InvalidAdapter(f"{name_in_file}: its OFT scales {rescale.numel()} outputs, and the layer has {out}")
        converted["oft_rescale"] = rescale.reshape(out, 1)
    return converted


def _of_peft(vectors: Tensor, scaling: Scaling, name_in_file: str, into: int) -> Tensor:
    """The rotations of inputs from `[blocks, size (size - 1) / 2]`, the blocks' upper triangles."""
    size = (1 + isqrt(1 + 8 * vectors.shape[-1])) // 2
    if vectors.ndim != 2 or size * (size - 1) // 2 != vectors.shape[1]:
        raise InvalidAdapter(f"{name_in_file}: its OFT of {tuple(vectors.shape)} is no triangle of a matrix")
    _check_blocks(max(1, into // size) if len(vectors) == 1 else len(vectors), size, into, name_in_file)
    rows, columns = torch.triu_indices(size, size, 1)
    skew = vectors.new_zeros(len(vectors), size, size)
    skew[:, rows, columns] = vectors
    skew = skew - skew.mT
    rotation = _series(skew, scaling.cayley_terms) if scaling.cayley_terms else _cayley(-skew)
    return rotation.expand(into // size, -1, -1) if len(rotation) == 1 else rotation


def _of_lycoris(blocks: Tensor, constraint: float, name_in_file: str, out: int) -> Tensor:
    """The rotations of outputs from `[blocks, size, size]`, whose skew-symmetric part is at most `constraint` long."""
    if blocks.ndim != 3 or blocks.shape[1] != blocks.shape[2]:
        raise InvalidAdapter(f"{name_in_file}: its OFT of {tuple(blocks.shape)} has no square blocks")
    _check_blocks(len(blocks), blocks.shape[1], out, name_in_file)
    skew = blocks - blocks.mT
    length = float(skew.norm()) + 1e-8
    if 0 < constraint < length:
        skew = skew * (constraint / length)
    return _cayley(skew).mT


def _check_blocks(count: int, size: int, width: int, name_in_file: str) -> None:
    """Check the blocks before anything is computed from them: the time that takes grows with the cube of their size."""
    if count * size != width:
        raise InvalidAdapter(
            f"{name_in_file}: its parts do not fit together: {count} blocks of {size} are not for a layer of {width}"
        )


def _cayley(skew: Tensor) -> Tensor:
    """(1 + Q) (1 - Q)⁻¹ of each block."""
    eye = torch.eye(skew.shape[-1])
    return torch.linalg.solve(eye - skew, eye + skew, left=False)


def _series(skew: Tensor, terms: int) -> Tensor:
    """The first terms of 1 + 2Q + 2Q² + …, of which the last counts once, as in PEFT."""
    terms = 4 if terms == 3 else terms  # as PEFT computes it
    rotation, power = torch.eye(skew.shape[-1]).expand_as(skew), skew
    for term in range(1, terms):
        rotation = rotation + (2 if term < terms - 1 or terms == 2 else 1) * power
        power = power @ skew
    return rotation


def is_identity(part: str, tensor: Tensor) -> bool:
    """Whether a part of a converted OFT changes nothing."""
    if part == "oft_rescale":
        return bool((tensor == 1).all())
    return bool((tensor == torch.eye(tensor.shape[-1])).all())
