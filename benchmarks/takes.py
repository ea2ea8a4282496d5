"""Eight takes of a track against one, through the scheduler as in a runner: the starters, wall time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

from benchmarks.measure import Figure, summarised
from contract import MAX_TAKES, SamplingOptions
from models.base import Model, Row, Text
from models.checkpoints import resolve
from runners import TABLE
from runners.scheduler import Scheduler

SECONDS = 10.0
TARGETS = {"musicgen": "≤ 1.8", "ace_step": "≤ 8"}


def measure(rounds: int) -> Iterator[Figure]:
    for backend in TABLE:
        checkpoint = resolve("starter", backend.name, backend.load_tiny())
        model = backend.load_model_class().load(checkpoint, torch.device("cpu"), torch.float32)
        walls, processors = [], []
        for number in range(rounds + 1):
            one, eight = _cost(model, number, 1), _cost(model, number, MAX_TAKES)
            if number:  # the first round warms up
                walls.append(eight[0] / one[0])
                processors.append(eight[1] / one[1])
        name = f"{backend.name}: {MAX_TAKES} takes of {SECONDS:g} s / one"
        yield summarised(f"{name}, wall time", TARGETS[backend.name], walls)
        yield summarised(f"{name}, CPU time", "", processors)


def _cost(model: Model, seed: int, takes: int) -> tuple[float, float]:
    """Wall and CPU seconds."""
    row = Row(Text("lofi hip hop beat", bpm=90), SECONDS, SamplingOptions(seed=seed))
    scheduler, request = Scheduler(model), object()
    wall, processor = time.perf_counter(), time.process_time()
    for each in row.takes(takes):
        scheduler.add(each, request=request)
    while scheduler.tickets:
        for _, track in scheduler.run_slice():
            if isinstance(track, Exception):
                raise track
    return time.perf_counter() - wall, time.process_time() - processor
