"""The devices of a training: loading the model on one, and the limit on GPU memory that leaves runners theirs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import torch

from core.settings import Settings
from models.base import Model
from models.checkpoints import Checkpoint, resolve
from models.device import pick_device, pick_dtype
from models.memory import MemoryMode
from runners import Backend

log = logging.getLogger("producer_twin.training")

# Left free for other processes if no limit is set.
_MARGIN_BYTES = 2**30
_POLL_SECONDS = 2.0


def device_names(config: Settings) -> list[str]:
    """The names of the devices to train on, one for each rank."""
    return [name.strip() for name in (config.train_device or config.device).split(",")]


def load_model(
    backend: Backend, name: str, config: Settings, check_stop: Callable[[], None]
) -> tuple[Checkpoint, Model]:
    """Load the backend's model on a device, when it has as much free memory as `TRAIN_GPU_BYTES` asks for.

    Args:
        check_stop: called while it waits for memory; it may raise to stop.
    """
    device = pick_device(name)

    def wait() -> None:
        check_stop()
        time.sleep(_POLL_SECONDS)

    limit_memory(device, config.train_gpu_bytes, wait)
    base = resolve(backend.checkpoint_name(config), backend.name, backend.load_tiny(), config.hf_token)
    dtype = pick_dtype(config.dtype, device)
    if dtype is torch.float16:
        dtype = torch.bfloat16  # float16 gradients overflow
    memory = MemoryMode(config.offload, config.quantization)
    return base, backend.load_model_class().load(base, device, dtype, memory)


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
