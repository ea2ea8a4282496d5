"""Mixed precision in the recipes' trainings."""

from __future__ import annotations

from functools import lru_cache

import torch


def autocast(device: str | torch.device) -> torch.autocast:
    """bfloat16 where the device computes with it, else the parameters' own type.

    A processor without such instructions emulates them: a training step takes about ten times as long.
    """
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu" or _processor_has_bfloat16())


@lru_cache(maxsize=1)
def _processor_has_bfloat16() -> bool:
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))
