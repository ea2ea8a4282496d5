"""`torch.compile` for the functions that run once for each layer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch.utils._triton import has_triton

log = logging.getLogger("producer_twin.models")

# Variants of a function: one row or several, adapters of any rank or none, text longer than a block or not.
_RECOMPILE_LIMIT = 64

P = ParamSpec("P")
T = TypeVar("T")


def should_compile(wanted: str, device: torch.device) -> bool:
    """Whether to compile: as the setting `COMPILE` says; `auto` compiles on a GPU that has Triton.

    On a CPU a compiled layer takes a minute to compile, and its rounding depends on the number of rows.
    """
    return wanted == "on" or (wanted == "auto" and device.type == "cuda" and has_triton())


def compile_function(function: Callable[P, T], backend: str | Callable[..., object] = "inductor") -> Callable[P, T]:
    """Compile a function as one graph for tensors of any length. If compiling fails, it runs uncompiled."""
    # Imported here because it takes long, and most processes do not compile.
    import torch._dynamo.config
    from torch._dynamo.exc import TorchDynamoException

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _RECOMPILE_LIMIT)
    fast: Callable[P, T] | None = torch.compile(function, fullgraph=True, backend=backend)

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        nonlocal fast
        if fast is not None:
            try:
                return fast(*args, **kwargs)
            except TorchDynamoException as error:
                log.warning("%s runs uncompiled: %s", function.__module__, str(error).strip().splitlines()[0])
                fast = None
        return function(*args, **kwargs)

    return call
