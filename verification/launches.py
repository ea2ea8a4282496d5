"""Checks of what a step launches on a GPU: the attention kernels, and nothing that waits for the device."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from unittest import mock

import torch
from torch.profiler import ProfilerActivity, profile

from models.ace_step import attention
from models.base import run_to_end
from verification.check import Bound, Check, Measured
from verification.latents import row
from verification.subject import Subject

_MATH = "_scaled_dot_product_attention_math"
_ATTENTION = ("_attention", "flash", "_attn", "fmha")
_TOKENS = 20


def math_kernels(subject: Subject) -> Measured:
    """How many attentions of a step keep all scores, with flash attention and without."""
    names: Counter[str] = Counter()
    for varlen in (True, False):
        with mock.patch.object(attention, "has_varlen", attention.has_varlen if varlen else lambda *_: False):
            model = subject.ace_step
            runs = [model.begin(row(subject.lengths.row, seed)) for seed in range(2)]
            batch = model.batch(runs)
            with profile(activities=[ProfilerActivity.CPU]) as recorded:
                run_to_end(batch.step())
        names.update(
            {event.key: event.count for event in recorded.key_averages() if any(a in event.key for a in _ATTENTION)}
        )
    count = sum(number for name, number in names.items() if _MATH in name)
    return Measured(count, ", ".join(f"{name} {number}" for name, number in sorted(names.items())))


def waits_of_ace_step(subject: Subject) -> Measured:
    """How often a step of several rows waits for the device before its end."""
    model = subject.ace_step
    runs = [model.begin(row(seconds, steps=3)) for seconds in (subject.lengths.row, subject.lengths.row / 2)]
    batch = model.batch(runs)
    run_to_end(batch.step())
    times = torch.full((len(runs),), 0.5, device=model.device)
    return _waits(lambda: run_to_end(batch.pack.forward([run.latents for run in runs], times)))


def _waits(run: Callable[[], object]) -> Measured:
    """The number of waits, by torch's own count, and where they are."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = [
        f"{each.filename.rpartition('/')[2]}:{each.lineno}" for each in caught if "synchroniz" in str(each.message)
    ]
    return Measured(len(places), ", ".join(places))


def waits_of_musicgen(subject: Subject) -> Measured:
    model = subject.musicgen
    runs = [model.begin(row(2 * _TOKENS / model.frame_rate, seed)) for seed in range(2)]
    batch = model.batch(runs)
    run_to_end(batch.step())

    def tokens() -> None:
        for _ in range(_TOKENS):
            run_to_end(batch.step())

    return _waits(tokens)


_NO_WAITS = "A transfer or a read of a result waits for the GPU in each step; send the places to the maintainers"

CHECKS: Sequence[Check] = (
    Check(
        "attentions of a step that keep all scores",
        math_kernels,
        "Install a torch with flash attention for this GPU, or use DTYPE=bfloat16",
        Bound(high=0),
        needs_gpu=True,
    ),
    Check("waits for the GPU in a step", waits_of_ace_step, _NO_WAITS, Bound(high=0), needs_gpu=True),
)
MUSICGEN_CHECKS: Sequence[Check] = (
    Check("waits for the GPU in 20 tokens", waits_of_musicgen, _NO_WAITS, Bound(high=0), needs_gpu=True),
)
