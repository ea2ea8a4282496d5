"""The table of docs/gpu.md: what the weights take in each memory mode. `python -m verification.memory_table`"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from models.int8_linear import quantise
from models.memory import weight_bytes
from verification import sizes

_GIB = 2**30


def markdown() -> str:
    """A row for each checkpoint and mode: GiB that stay on the GPU, and that are there at most."""
    with torch.device("meta"), sizes.in_bfloat16():
        rows = [row for name, size in sizes.ACE_STEP.items() for row in _rows(name, size)]
    head = ["| checkpoint | `OFFLOAD` | `QUANTIZATION` | stays on the GPU | at most |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


def _rows(name: str, size: sizes.AceStepSize) -> Sequence[str]:
    vae = sizes.vae()
    once = [sizes.condition_encoder(), sizes.text_encoder(), vae.get_submodule("encoder"), vae.get_submodule("decoder")]
    transformers = {"none": sizes.transformer(size), "int8": sizes.transformer(size)}
    parts = [weight_bytes([part]) for part in once]
    rows = []
    for offload in ("off", "on"):
        for quantization, transformer in transformers.items():
            if quantization == "int8":
                quantise(transformer.get_submodule("layers"))
            stays = weight_bytes([transformer]) + (sum(parts) if offload == "off" else 0)
            most = stays + (max(parts) if offload == "on" else 0)
            rows.append(f"| {name} | `{offload}` | `{quantization}` | {stays / _GIB:.1f} GiB | {most / _GIB:.1f} GiB |")
    return rows


if __name__ == "__main__":
    print(markdown())
