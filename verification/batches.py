"""Checks of batches: rows do not change each other, and adapters cost little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from adapters.weights import linear_layers
from models.base import run_to_end
from verification.adapters import random_adapter
from verification.check import Bound, Check, Measured
from verification.latents import row, sampled
from verification.measure import difference, median_seconds, peak_bytes, reset_peak
from verification.subject import Subject

_MIXED, _ADAPTERS = 4, 8
_GIB = 2**30


def rows_change_each_other(subject: Subject) -> float:
    """The largest difference between a row alone and in a batch of rows with other lengths and adapters."""
    model = subject.ace_step
    adapters = [[], *([(random_adapter(model, seed), 1.0)] for seed in range(1, _MIXED))]
    rows = [
        replace(row(subject.lengths.row * (1 + number / 2), seed=number), adapters=own)
        for number, own in enumerate(adapters)
    ]
    together = sampled(model, *rows)
    return max(difference(one, sampled(model, each)[0]) for one, each in zip(together, rows, strict=True))


@torch.inference_mode()
def throughput_with_adapters(subject: Subject) -> float:
    """The throughput of rows with different adapters, relative to that of rows without."""
    model = subject.ace_step
    plain = [row(subject.lengths.row, seed) for seed in range(_ADAPTERS)]
    tuned = [replace(each, adapters=[(random_adapter(model, seed), 1.0)]) for seed, each in enumerate(plain)]
    steps = {}
    for name, rows in (("plain", plain), ("tuned", tuned)):
        runs = [model.begin(each) for each in rows]
        pack, times = model.batch(runs).pack, torch.full((len(runs),), 0.5, device=model.device)
        latents = [run.latents for run in runs]
        steps[name] = lambda pack=pack, latents=latents, times=times: pack.velocities(latents, times)
    taken = median_seconds(steps, subject.device)
    return taken["plain"] / taken["tuned"]


def dora_copies(subject: Subject) -> Measured:
    """How many copies of the weights a batch with the same DoRA adapter in all rows keeps."""
    model = subject.ace_step
    adapter = random_adapter(model, 0, dora=True)
    count = 8 if subject.device.type == "cuda" else 2
    rows = [replace(row(subject.lengths.row, seed, steps=2), adapters=[(adapter, 1.0)]) for seed in range(count)]
    reset_peak(subject.device)
    runs = [model.begin(each) for each in rows]
    held = model.merged.nbytes
    batch = model.batch(runs)
    while runs[0].steps_left:
        run_to_end(batch.step())
    if not all(bool(torch.isfinite(run.latents).all()) for run in runs):
        raise FloatingPointError("the latents are not finite")
    layers = linear_layers(model.adapted)
    one = sum(layers[name].weight.nbytes for name in adapter.deltas)
    peak = peak_bytes(subject.device) or 0
    return Measured(held / one, f"{count} rows, a copy of {one / _GIB:.2f} GiB, peak {peak / _GIB:.2f} GiB")


CHECKS: Sequence[Check] = (
    Check(
        "4 rows with other lengths and LoRAs, difference from alone / deviation",
        rows_change_each_other,
        "Set DTYPE=float32 to see whether rounding is the cause, and send the JSON file to the maintainers",
        Bound(high=0.02),
    ),
    Check(
        "throughput of 8 LoRAs / of 8 rows without",
        throughput_with_adapters,
        "Set COMPILE=on, or use adapters of a smaller rank",
        Bound(low=0.92),
        needs_gpu=True,
        needs_size=True,
    ),
    Check(
        "copies of the weights for rows with the same DoRA",
        dora_copies,
        "Rows should share one; send the JSON file to the maintainers",
        Bound(high=1),
    ),
)
