"""Keeps modules in the CPU's memory that a model runs once for a track, such as its text encoder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def offload(modules: Iterable[torch.nn.Module], device: torch.device) -> None:
    """Keep the weights of modules in the CPU's memory, and on `device` only while their forward pass runs.

    Args:
        modules: without weight norms, whose results would stay on the device; where one is part of another, the inner
            one first.
    """
    followed: set[int] = set()
    for module in modules:
        weights = _Weights(module, device, followed)
        module.register_forward_pre_hook(weights.load)
        module.register_forward_hook(weights.unload, always_call=True)
        followed |= {id(part) for part in module.modules()}


class _Weights:
    """The parameters and buffers of a module, which are replaced by copies on the device while it runs.

    Args:
        without: ids of the submodules that are left out.
    """

    def __init__(self, module: torch.nn.Module, device: torch.device, without: set[int]) -> None:
        self._device = device
        stores: list[dict[str, Any]] = [
            store for part in module.modules() if id(part) not in without for store in (part._parameters, part._buffers)
        ]
        places = [(store, name, tensor) for store in stores for name, tensor in store.items() if tensor is not None]
        # Tied weights are one tensor in several places.
        hosts = {id(tensor): _on_host(tensor, device) for _, _, tensor in places}
        self._places = [(store, name, hosts[id(tensor)]) for store, name, tensor in places]
        self.unload()

    def load(self, *_: Any) -> None:
        copies: dict[int, Tensor] = {}
        for store, name, host in self._places:
            if id(host) not in copies:
                copy = host.to(self._device, non_blocking=True)
                copies[id(host)] = _frozen(copy) if isinstance(host, torch.nn.Parameter) else copy
            store[name] = copies[id(host)]

    def unload(self, *_: Any) -> None:
        for store, name, host in self._places:
            store[name] = host


def _on_host(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor in the CPU's memory, pinned if the device is a GPU."""
    host = tensor.detach().cpu()
    if device.type == "cuda" and torch.cuda.is_available():
        host = host.pin_memory()
    return _frozen(host) if isinstance(tensor, torch.nn.Parameter) else host


def _frozen(tensor: Tensor) -> torch.nn.Parameter:
    return torch.nn.Parameter(tensor, requires_grad=False)
