"""The service with an ACE-Step model that fails as its prompt asks: serve `tests.faulty:ProducerTwin`.

A runner that is about to be replaced reports it for GRACE_SECONDS, longer than otherwise, so that a test can see it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from models.ace_step import AceStep
from models.base import Batch, Interruptible, Row
from runners import TABLE, base

MAX_ROWS_IN_MEMORY = 2
GRACE_SECONDS = 15.0


class Faulty(AceStep):
    def begin(self, row: Row) -> Any:
        run: Any = super().begin(row)
        run.prompt = row.text.prompt
        return run

    def batch(self, runs: Sequence[Any]) -> Any:
        return Breaking(super().batch(runs), runs)


class Breaking:
    def __init__(self, batch: Batch, runs: Sequence[Any]) -> None:
        self.batch, self.runs = batch, runs
        self.prompts = [run.prompt for run in runs]

    def step(self) -> Interruptible:
        work = self.batch.step()
        yield next(work)
        if len(self.prompts) > MAX_ROWS_IN_MEMORY or "too large" in self.prompts:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if "takes its time" in self.prompts:
            time.sleep(1)
        if "hangs" in self.prompts:
            time.sleep(3600)
        if "breaks the device" in self.prompts:
            raise torch.AcceleratorError("CUDA error: device-side assert triggered")
        yield from work
        for prompt, run in zip(self.prompts, self.runs, strict=True):
            if prompt == "not a number":
                run.latents = torch.full_like(run.latents, float("nan"))


base._GRACE_SECONDS = GRACE_SECONDS
for row in list(TABLE):
    if row.name == "ace_step":
        TABLE._rows[row.name] = replace(row, model="tests.faulty:Faulty")

from service import ProducerTwin  # noqa: E402, F401 - after the change of the table that it is built from
