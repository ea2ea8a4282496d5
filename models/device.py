"""The device and dtype that a model runs in, and how errors of the device are recognised."""

from __future__ import annotations

import torch

from models import malloc

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(wanted: str) -> torch.device:
    """The device that the setting `DEVICE` names. `auto` takes the first available of CUDA, Apple's MPS and the CPU.

    Raises:
        ValueError: this machine has no such device.
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
    """The dtype that the setting `DTYPE` names. `auto` takes bfloat16 on CUDA and float32 elsewhere.

    On a CPU in float32 a track is the same to the last bit in any batch. With AMX, bfloat16 is faster.
    """
    if wanted == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return _DTYPES[wanted]


def placement(module: torch.nn.Module) -> tuple[torch.device, torch.dtype]:
    """The device and dtype of a module's parameters, by its first one.

    The properties of that name of diffusers' models walk through all modules each time.
    """
    parameter = next(module.parameters())
    return parameter.device, parameter.dtype


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor of the CPU to the device, to a GPU through pinned memory, so that nothing waits for it."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    pinned = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True)
    return pinned.copy_(tensor).to(device, non_blocking=True)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device or the machine ran out of memory, so that a smaller batch may fit."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # MPS, the CPU's allocator, and CUDA outside of PyTorch's allocator raise plain RuntimeErrors.
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def is_device_lost(error: BaseException) -> bool:
    """Whether this process cannot use its device any more: after an error of CUDA itself all later calls fail too."""
    if is_out_of_memory(error):
        return False
    return isinstance(error, torch.AcceleratorError) or (isinstance(error, RuntimeError) and "CUDA error" in str(error))


def free_cached_memory() -> None:
    """Release cached memory. Drop exceptions first: their tracebacks keep the tensors of their frames alive."""
    malloc.trim()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def free_memory_of(error: Exception) -> None:
    """Free what did not fit, which the frames of the error's traceback hold."""
    error.__traceback__ = None
    free_cached_memory()
