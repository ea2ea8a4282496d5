"""Whether an adapter was trained on another size of the served model, by its layers' widths and numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

# The sizes of ACE-Step 1.5 by the width of the transformer.
_ACE_STEP = {2048: "2B", 2560: "XL"}
_LAYER = re.compile(r"(?:^|[._])layers[._](\d+)[._]")


def other_width(name: str, parts: Mapping[str, Tensor], shape: tuple[int, int], backend: str) -> str | None:
    """Why a layer's LoRA does not fit, None if its inputs are as wide as the model's.

    Args:
        name: the layer's name in our files.
        shape: shape of the layer's weight, `[out, in]`.
    """
    if "lora_A.weight" not in parts or not name.endswith(("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")):
        return None
    width = parts["lora_A.weight"].shape[1:].numel()
    if width == shape[1]:
        return None
    return (
        f"it was trained on another model: its layers are {_named(width, backend)} wide, and those of the model that "
        f"is served are {_named(shape[1], backend)} wide"
    )


def _named(width: int, backend: str) -> str:
    size = _ACE_STEP.get(width) if backend == "ace_step" else None
    return f"{width} ({size})" if size else str(width)


def further_layer(keys: Iterable[str], layers: Iterable[str]) -> str | None:
    """Why tensors have no layer: their layers' numbers are beyond the model's. None if that is not the reason.

    Args:
        keys: names of tensors without a layer.
        layers: names of the model's layers.
    """
    count = 1 + max(map(_number, layers), default=-1)
    last = max(map(_number, keys), default=-1)
    if not count or last < count:
        return None
    return f"it was trained on a larger model: it has a layer {last}, and the model that is served has {count} layers"


def _number(name: str) -> int:
    found = _LAYER.search(name)
    return int(found[1][:9]) if found else -1
