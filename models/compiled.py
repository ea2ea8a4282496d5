"""Compiling what runs for each layer, where that pays."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch.utils._triton import has_triton

log = logging.getLogger("producer_twin.models")

_MOST = 64

P = ParamSpec("P")
T = TypeVar("T")


def pays(wanted: str, device: torch.device) -> bool:
    """Whether to compile: as `COMPILE` says, and for `auto` on a GPU for which there is a compiler.

    On a CPU a compiled layer rounds in another way for another number of rows, and takes a minute to make.
    """
    return wanted == "on" or (wanted == "auto" and device.type == "cuda" and has_triton())


def compiled(function: Callable[P, T], backend: str | Callable[..., object] = "inductor") -> Callable[P, T]:
    """`function` compiled as one graph for tensors of all lengths; `function` itself from when that fails."""
    # Much to import, for those who compile alone.
    import torch._dynamo.config
    from torch._dynamo.exc import TorchDynamoException

    # One for each of: one row or several, with adapters of any rank or none, text longer than a block or not.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _MOST)
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
