"""The limit on a training process's GPU memory, so that runners on the same GPU keep theirs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import torch

log = logging.getLogger("producer_twin.training")

# Left free for other processes if no limit is set.
_MARGIN_BYTES = 2**30
_POLL_SECONDS = 2.0


def limit_memory(
    device: torch.device,
    wanted: int | None,
    wait: Callable[[], object],
    get_memory: Callable[[torch.device], tuple[int, int]] = torch.cuda.mem_get_info,
    set_fraction: Callable[[float, torch.device], object] = torch.cuda.set_per_process_memory_fraction,
) -> int | None:
    """Limit this process to a part of the GPU's memory.

    Args:
        wanted: bytes to wait for and to use; None uses what is free now, less 1 GiB.
        wait: called while less than `wanted` is free; it may raise to stop.
        get_memory: returns (free, total) bytes of a device.
        set_fraction: limits this process to a fraction of the device's memory.

    Returns:
        The limit in bytes, None if the device is not a GPU.

    Raises:
        ValueError: the GPU has less memory than `wanted`.
    """
    if device.type != "cuda":
        return None
    free, total = get_memory(device)
    if wanted is not None:
        if wanted > total:
            raise ValueError(f"TRAIN_GPU_BYTES={wanted}: the GPU has only {total} bytes")
        while free < wanted:
            wait()
            free, total = get_memory(device)
    budget = wanted if wanted is not None else max(free - _MARGIN_BYTES, free // 2)
    set_fraction(budget / total, device)
    log.info("training may use %.1f of the GPU's %.1f GiB", budget / 2**30, total / 2**30)
    return budget


def pause() -> None:
    """Wait before the free memory is read again."""
    time.sleep(_POLL_SECONDS)
