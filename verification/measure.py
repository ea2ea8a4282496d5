"""Time and memory of a device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

_ROUNDS, _WARM_UP = 5, 2
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# Written to /proc/self/clear_refs, it resets the peak; see proc(5).
_RESET_PEAK = "5"


def synchronise(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """The wall time of `run` with all that it queued on the device."""
    synchronise(device)
    start = time.perf_counter()
    run()
    synchronise(device)
    return time.perf_counter() - start


def median_seconds(runs: Mapping[str, Callable[[], object]], device: torch.device) -> dict[str, float]:
    """The median time of each implementation. They alternate, so that a changing clock rate affects all alike."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(_WARM_UP + _ROUNDS):
        for name, run in runs.items():
            seconds = seconds_of(run, device)
            if number >= _WARM_UP:
                taken[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def reset_peak(device: torch.device) -> None:
    """Forget the peak of the memory so far."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR.exists():
        _CLEAR.write_text(_RESET_PEAK)


def peak_bytes(device: torch.device) -> int | None:
    """The peak of the GPU memory of torch, or of this process's memory. None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if not _STATUS.exists():
        return None
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


def difference(one: Tensor, other: Tensor) -> float:
    """The root mean square of the difference, relative to the deviation of `other`."""
    exact = other.double()
    return float((one.double() - exact).square().mean().sqrt() / exact.std())
