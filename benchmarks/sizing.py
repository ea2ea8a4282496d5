"""Memory and time of a batch as formulas of its tracks' lengths, with their errors on other batches.

    python -m benchmarks.sizing --backend ace_step [--lengths 10,30,60,120]

Checkpoint, device and dtype are those of the settings, so run it on the machine to be sized. The formulas are fitted to
some batches and tested on others, each in a separate process. Memory is the device's on a GPU, else the process's,
above that of the loaded and warmed-up model. Time is that of a whole batch, from text to samples: wall time on a GPU,
else CPU time of one thread.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import psutil
import torch

from contract import SamplingOptions
from core.settings import settings
from models import malloc
from models.base import Row, Text
from models.checkpoints import resolve
from models.device import pick_device, pick_dtype
from runners import TABLE

Batch = tuple[float, ...]

# Terms of the time, beside a constant. ACE-Step computes a whole track in each step, with full self-attention; MusicGen
# takes a step for each token of the longest track, for all tracks at once.
TIME: dict[str, dict[str, Callable[[Batch], float]]] = {
    "ace_step": {"s of music": sum, "s² of each track": lambda batch: sum(length**2 for length in batch)},
    "musicgen": {"s of the longest": max, "s of music": sum},
}
# Terms of the memory. Codecs work in chunks; MusicGen's key-value cache has as many positions for each track.
MEMORY: dict[str, dict[str, Callable[[Batch], float]]] = {
    "ace_step": {"s of music": sum},
    "musicgen": {"s of the longest, for each track": lambda batch: len(batch) * max(batch)},
}


@dataclass(frozen=True)
class Measured:
    """Bytes of the loaded model, more bytes for the batch, and seconds."""

    loaded: int
    more: int
    took: float


def batches(lengths: list[float]) -> tuple[list[Batch], list[Batch]]:
    """The batches that the formulas are fitted to, and those that they are tested on."""
    low, middle, high, *_ = sorted(lengths)
    fitted = [(low,), (middle,), (high,), (low,) * 4, (middle, middle)]
    return fitted, [(middle,) * 3, (low, high), ((middle + high) / 2,), (low, low, middle)]


def measure(backend: str, batch: Batch) -> Measured:
    """Measure in this process, which should do nothing else."""
    torch.set_num_threads(1)
    malloc.keep_freed_memory()
    config, row = settings(), next(row for row in TABLE if row.name == backend)
    device = pick_device(config.device)
    checkpoint = resolve(row.checkpoint_name(config), row.name, row.load_tiny(), config.hf_token)
    model = row.load_model_class().load(checkpoint, device, pick_dtype(config.dtype, device))
    on_gpu = device.type == "cuda"

    def tracks(lengths: Batch) -> None:
        for track in model.generate(
            [Row(Text("dark trap"), length, SamplingOptions(seed=seed)) for seed, length in enumerate(lengths)]
        ):
            if isinstance(track, Exception):
                raise track

    tracks((1.0,))
    malloc.trim()
    clock = time.perf_counter if on_gpu else time.process_time
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
        loaded = before = torch.cuda.memory_allocated(device)
    else:
        loaded, before = psutil.Process().memory_info().rss, _in_use()
    with _watched() as peak:
        start = clock()
        tracks(batch)
        took = clock() - start
    most = torch.cuda.max_memory_allocated(device) if on_gpu else peak[0]
    return Measured(loaded, most - before, took)


@contextmanager
def _watched() -> Iterator[list[int]]:
    """The peak of memory in use inside the block, in a list of one item."""
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], _in_use())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


class _Mallinfo(ctypes.Structure):
    _fields_ = [(f"field{number}", ctypes.c_size_t) for number in range(10)]


def _in_use() -> int:
    """Bytes allocated by mmap and in use on the heaps; resident memory would include freed memory."""
    ask = ctypes.CDLL(None).mallinfo2
    ask.restype = _Mallinfo
    info = ask()
    return int(info.field4) + int(info.field7)


def apart(backend: str, batch: Batch) -> Measured:
    """Measure in a separate process."""
    command = [sys.executable, "-m", "benchmarks.sizing", "--backend", backend, "--one", ",".join(map(str, batch))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def fit(features: dict[str, Callable[[Batch], float]], values: dict[Batch, float]) -> list[float]:
    """The constant and the coefficients: non-negative least squares of the relative errors."""
    from scipy.optimize import nnls

    rows = np.array([[1.0, *(feature(batch) for feature in features.values())] for batch in values])
    known = np.array(list(values.values()))
    return [float(value) for value in nnls(rows / known[:, None], np.ones(len(known)))[0]]


def formula(features: dict[str, Callable[[Batch], float]], parts: list[float], batch: Batch) -> float:
    return parts[0] + sum(part * feature(batch) for part, feature in zip(parts[1:], features.values(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="ace_step", choices=list(TIME))
    parser.add_argument("--lengths", default="10,30,90", help="three, in seconds")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(vars(measure(given.backend, tuple(map(float, given.one.split(",")))))))
        return
    fitted, held = batches([float(length) for length in given.lengths.split(",")])
    found = {batch: apart(given.backend, batch) for batch in (*fitted, *held)}
    config = settings()
    device = pick_device(config.device)
    print(f"{given.backend} on {device}, {pick_dtype(config.dtype, device)}")
    print(f"loaded and warm: {np.median([each.loaded for each in found.values()]) / 2**20:,.0f} MiB")
    for name, unit, features, values in (
        ("memory", "MiB", MEMORY[given.backend], {batch: found[batch].more / 2**20 for batch in found}),
        ("time", "s", TIME[given.backend], {batch: found[batch].took for batch in found}),
    ):
        parts = fit(features, {batch: values[batch] for batch in fitted})
        terms = [f"{part:.4g} × {feature}" for part, feature in zip(parts[1:], features, strict=True)]
        print(f"{name} = {' + '.join([f'{parts[0]:.3g}', *terms])} {unit}")
        for batch in found:
            predicted, kind = formula(features, parts, batch), "fitted" if batch in fitted else "tested"
            lengths = " + ".join(f"{length:g}" for length in batch)
            print(
                f"  {lengths + ' s':<24}{values[batch]:10.2f} {unit:<4}{predicted / values[batch]:7.2f} × by it  {kind}"
            )


if __name__ == "__main__":
    main()
