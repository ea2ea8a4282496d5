"""The `adapter_config.json` that PEFT needs beside one of our adapter files. Needs no torch."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from adapters.adapter_file import LOHA_PARTS, LORA_PARTS, Header, header_length, module_and_part

# The tensors of each layer, the settings of that kind in PEFT, and the tensor whose first dimension is the rank.
_KINDS: list[tuple[frozenset[str], dict[str, Any], str]] = [
    (LORA_PARTS, {"peft_type": "LORA"}, "lora_A.weight"),
    (LORA_PARTS | {"lora_magnitude_vector"}, {"peft_type": "LORA", "use_dora": True}, "lora_A.weight"),
    (LOHA_PARTS, {"peft_type": "LOHA"}, "hada_w1_b"),
]


def peft_config(data: bytes, header: Header) -> bytes | None:
    """The configuration for a valid file, None if PEFT cannot load it.

    PEFT has one kind of adapter for all layers, has no DoRA with LoKr or LoHa, and derives the shapes of LoKr's tensors
    from its settings, which not every file fits. Alpha is each layer's rank, since the scaling is folded into the file.
    """
    table = json.loads(data[8 : 8 + header_length(data)])
    table.pop("__metadata__", None)
    layers: dict[str, dict[str, list[int]]] = {}
    for key, entry in table.items():
        module, part = module_and_part(key)
        layers.setdefault(module, {})[part] = entry["shape"]
    found = [each for each in _KINDS if all(layer.keys() == each[0] for layer in layers.values())]
    if not found:
        return None
    _, kind, ranked = found[0]
    ranks = {module: layer[ranked][0] for module, layer in layers.items()}
    usual = Counter(ranks.values()).most_common(1)[0][0]
    pattern = {module: rank for module, rank in ranks.items() if rank != usual}
    config = kind | {
        "r": usual,
        "lora_alpha" if kind["peft_type"] == "LORA" else "alpha": usual,
        "rank_pattern": pattern,
        "alpha_pattern": pattern,
        "base_model_name_or_path": header.base,
        "target_modules": sorted({module.rsplit(".", 1)[-1] for module in layers}),
    }
    if kind["peft_type"] == "LORA":
        config["bias"] = "none"
    return json.dumps(config, indent=2).encode()
