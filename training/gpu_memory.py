"""Training on a GPU that also serves takes no more of its memory than it may, so that the runners keep theirs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import torch

log = logging.getLogger("producer_twin.training")

# Of what is free, so much is left to whoever comes.
_MARGIN = 2**30
_LOOK_SECONDS = 2.0


def take_room(
    device: torch.device,
    wanted: int | None,
    wait: Callable[[], object],
    memory: Callable[[torch.device], tuple[int, int]] = torch.cuda.mem_get_info,
    limit: Callable[[float, torch.device], object] = torch.cuda.set_per_process_memory_fraction,
) -> int | None:
    """Limit this process to its part of the GPU's memory, and return that in bytes; None where there is no GPU.

    Args:
        wanted: bytes to wait for and to take; None takes what is free now, less a gibibyte.
        wait: called while there is too little; it may raise to give up.
        memory: (free, total) bytes of a device.
        limit: keeps this process to a part of the device's memory.

    Raises:
        ValueError: the GPU has less than is wanted.
    """
    if device.type != "cuda":
        return None
    free, total = memory(device)
    if wanted is not None:
        if wanted > total:
            raise ValueError(f"TRAIN_GPU_BYTES={wanted}: the GPU has only {total} bytes")
        while free < wanted:
            wait()
            free, total = memory(device)
    room = wanted if wanted is not None else max(free - _MARGIN, free // 2)
    limit(room / total, device)
    log.info("training may take %.1f of the GPU's %.1f GiB", room / 2**30, total / 2**30)
    return room


def pause() -> None:
    """What to do between two looks."""
    time.sleep(_LOOK_SECONDS)
