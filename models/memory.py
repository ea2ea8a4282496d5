"""Memory modes: what of a model is on the GPU, and in which precision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch

# Left for activations, adapters and merged copies when `auto` decides.
_WORKING_BYTES = 4 * 2**30


@dataclass(frozen=True)
class MemoryMode:
    """How a model saves the memory of its device.

    Attributes:
        offload: whether parts that run once for a track stay in the CPU's memory until they run; `auto` if the GPU is
            too small for all parts.
        quantization: `int8` stores the weights of the layers in 8 bits.
    """

    offload: Literal["auto", "on", "off"] = "off"
    quantization: Literal["none", "int8"] = "none"

    def offloads(self, device: torch.device, weight_bytes: int) -> bool:
        """Whether a model of this size offloads on this device. A CPU shares its memory with nothing."""
        if device.type != "cuda" or self.offload == "off":
            return False
        if self.offload == "on":
            return True
        return weight_bytes + _WORKING_BYTES > torch.cuda.get_device_properties(device).total_memory


WHOLE = MemoryMode()


def weight_bytes(modules: Iterable[torch.nn.Module]) -> int:
    """The memory of the modules' parameters and buffers."""
    return sum(tensor.nbytes for module in modules for tensor in (*module.parameters(), *module.buffers()))
