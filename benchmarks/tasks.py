"""ACE-Step's tasks in one batch, each row with a twin of its own, against the sum of each row alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks import models
from benchmarks.measure import Figure, compared, interleaved
from contract import SamplingOptions
from contract.tasks import Task
from models.ace_step import AceStep
from models.ace_step.sampling import Defaults
from models.base import Edit, Recording, Row, Text

TASKS: tuple[Task, ...] = ("text", "repaint", "extend", "cover", "lego", "extract", "complete", "cover")
SECONDS = (5.0, 8.0, 11.0)
GUIDED = Defaults(4, 1.0, 4.0)


def measure(rounds: int) -> Iterator[Figure]:
    """From `begin` to the last step. Recordings are encoded before, and tracks decoded after it, row by row."""
    model = models.ace_step()
    model.defaults = GUIDED
    rows = [_row(model, task, number) for number, task in enumerate(TASKS)]

    def denoise(*batches: Sequence[Row]) -> None:
        for batch in batches:
            model._run([model.begin(row) for row in batch])

    denoise(rows)  # also encodes the recordings
    implementations = {"together": lambda: denoise(rows), "alone": lambda: denoise(*[[row] for row in rows])}
    taken = interleaved(implementations, rounds)
    yield compared("ACE-Step: 8 rows of 7 tasks together / the sum of each alone", "≤ 1.05", taken, "together", "alone")


def _row(model: AceStep, task: Task, number: int) -> Row:
    seconds = SECONDS[number % len(SECONDS)]
    samples = np.random.default_rng(number).normal(0, 0.1, (model.channels, round(seconds * model.sample_rate)))
    source = Recording(samples.astype(np.float32), str(number))
    twin = models.adapter(model.adapted, "ace_step", models.DIT_ATTENTION, number)
    # The last row leaves its source halfway.
    strength = 0.5 if number == len(TASKS) - 1 else 1.0
    edit = Edit(task, source, seconds / 2, seconds, strength, tracks=("drums",))
    return Row(
        Text("beat " * (1 + 7 * number)),
        seconds,
        SamplingOptions(seed=number),
        adapters=[(twin, 1.0)],
        edit=None if task == "text" else edit,
        reference=source if number % 2 else None,
    )
