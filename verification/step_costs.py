"""Checks of the constants with which the scheduler starts: the cost of a step beyond its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch

from contract import SamplingOptions
from models.base import Batch, Row, Text, run_to_end
from verification.check import Bound, Check, Measured
from verification.latents import row
from verification.measure import median_seconds
from verification.subject import Subject

_ROWS = (1, 2, 4, 8)
_TOKENS = 8
_SECONDS = (5.0, 10.0, 20.0, 30.0)
_WITHIN_TWICE = Bound(0.5, 2)


@torch.inference_mode()
def overhead_of_ace_step(subject: Subject) -> Measured:
    """The overhead of a step that is measured, relative to the constant."""
    model = subject.ace_step
    steps: dict[float, Callable[[], object]] = {}
    for seconds in _SECONDS:
        request = row(seconds)
        run = model.begin(request)
        pack, times = model.batch([run]).pack, torch.full((1,), 0.5, device=model.device)
        steps[model.plan(request).cost] = partial(pack.velocities, [run.latents], times)
    return _relative(steps, model.overhead, subject.device)


@torch.inference_mode()
def overhead_of_musicgen(subject: Subject) -> Measured:
    model = subject.musicgen
    steps: dict[float, Callable[[], object]] = {}
    for count in _ROWS:
        rows = [Row(Text("beat"), 10.0, SamplingOptions(seed=seed)) for seed in range(count)]
        batch = model.batch([model.begin(each) for each in rows])
        steps[float(count)] = partial(_tokens, batch)
    return _relative(steps, model.overhead, subject.device)


def _tokens(batch: Batch) -> None:
    for _ in range(_TOKENS):
        run_to_end(batch.step())


def _relative(steps: Mapping[float, Callable[[], object]], constant: float, device: torch.device) -> Measured:
    """Fit seconds = pace × (overhead + cost), and compare the overhead with the constant."""
    taken = median_seconds({str(cost): step for cost, step in steps.items()}, device)
    slope, intercept = np.polyfit(list(steps), list(taken.values()), 1)
    overhead = float(intercept / slope)
    return Measured(overhead / constant, f"measured {overhead:.3g}, the constant is {constant:g}")


_ADVICE = "The scheduler learns it from the first steps; report the figure, so that the constant is mended"

CHECKS: Sequence[Check] = (
    Check(
        "overhead of a step / the scheduler's constant",
        overhead_of_ace_step,
        _ADVICE,
        _WITHIN_TWICE,
        needs_gpu=True,
        needs_size=True,
    ),
)
MUSICGEN_CHECKS: Sequence[Check] = (
    Check(
        "overhead of a token / the scheduler's constant",
        overhead_of_musicgen,
        _ADVICE,
        _WITHIN_TWICE,
        needs_gpu=True,
        needs_size=True,
    ),
)
