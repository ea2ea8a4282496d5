"""Keeps modules in the CPU's memory that a model runs once for a track, such as its text encoder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import remove_weight_norm


def offload(modules: Iterable[torch.nn.Module], device: torch.device) -> None:
    """Keep the weights of modules in the CPU's memory, and on `device` only while their forward pass runs.

    Args:
        modules: where one is part of another, the inner one first.
    """
    done: set[int] = set()
    for module in modules:
        _fold_weight_norms(module)
        tensors = [each for each in (*module.parameters(), *module.buffers()) if id(each) not in done]
        done |= {id(each) for each in tensors}
        _Weights(tensors, device).follow(module)


class _Weights:
    """The tensors of a module, of which there is a copy on the device while it runs."""

    def __init__(self, tensors: Sequence[Tensor], device: torch.device) -> None:
        self._tensors, self._device = tensors, device
        pinned = device.type == "cuda" and torch.cuda.is_available()
        self._host = [tensor.data.cpu().pin_memory() if pinned else tensor.data.cpu() for tensor in tensors]
        self._unload()

    def follow(self, module: torch.nn.Module) -> None:
        module.register_forward_pre_hook(self._load)
        module.register_forward_hook(self._unload, always_call=True)

    def _load(self, *_: Any) -> None:
        for tensor, host in zip(self._tensors, self._host, strict=True):
            tensor.data = host.to(self._device, non_blocking=True)

    def _unload(self, *_: Any) -> None:
        for tensor, host in zip(self._tensors, self._host, strict=True):
            tensor.data = host


def _fold_weight_norms(root: torch.nn.Module) -> None:
    """Replace normalised weights by their values: the weight that is computed from them would stay on the device."""
    for module in root.modules():
        if hasattr(module, "weight_g"):
            remove_weight_norm(module)
