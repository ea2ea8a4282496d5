"""Where and in which precision a model runs, and what its errors mean."""

from __future__ import annotations

import torch

from models import memory

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(wanted: str) -> torch.device:
    """The device that `DEVICE` names, or for `auto` the best there is: CUDA, Apple's MPS, the CPU.

    Raises:
        ValueError: there is no such device here.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"DEVICE={wanted}: {str(error).splitlines()[0]}") from error
    return device


def pick_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """The dtype that `DTYPE` names, or for `auto` bfloat16 on CUDA and float32 elsewhere.

    On a CPU float32 keeps a track the same to the last bit whoever else is in the batch; with AMX, bfloat16 is faster.
    """
    if wanted == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return _DTYPES[wanted]


def out_of_memory(error: BaseException) -> bool:
    """Whether memory did not suffice, the device's or the machine's: less at once may fit."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # What MPS, the CPU's allocator and CUDA outside of PyTorch's allocator raise.
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def lost(error: BaseException) -> bool:
    """Whether this process can use its device no more: an error of CUDA's own makes all later calls fail as well."""
    if out_of_memory(error):
        return False
    return isinstance(error, torch.AcceleratorError) or (isinstance(error, RuntimeError) and "CUDA error" in str(error))


def free_memory() -> None:
    """Give back what is kept for later. Errors that are still held hold what their frames had: let go of them."""
    memory.give_back()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
