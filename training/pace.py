"""How long trainings take on this service, learned from the records of its earlier jobs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from statistics import median

from core.errors import Refusal
from training.jobs.record import JobRecord
from training.jobs.store import Jobs

log = logging.getLogger("producer_twin.training")

# The newest jobs, since the checkpoint or the machine may have changed.
_JOBS = 5
# Of a backend without a job among these, the server goes on with the pace that it has learned before.
_MAX_RECORDS = 100
_MAX_AGE_SECONDS = 60.0
# A client of slow storage gets what was learned before.
_MAX_WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Pace:
    """The medians of some jobs of one backend.

    Attributes:
        seconds_per_step: with the measurements and previews between the steps.
        seconds_besides: what a job takes besides its steps, to prepare and to evaluate; None if that is not known.
    """

    seconds_per_step: float
    seconds_besides: float | None

    def seconds(self, steps: int) -> float:
        """The estimated length of a whole job."""
        return steps * self.seconds_per_step + (self.seconds_besides or 0.0)


def learn(records: Iterable[JobRecord], backend: str) -> Pace | None:
    """The pace of the newest jobs of a backend that were done without an interruption; None if there are none.

    Args:
        records: the newest first.
    """
    done = (
        record
        for record in records
        if record.backend == backend and record.state == "done" and not record.attempt and record.steps_per_second
    )
    chosen = list(islice(done, _JOBS))
    if not chosen:
        return None
    per_step = {record.job_id: 1 / (record.steps_per_second or 1.0) for record in chosen}
    besides = [
        max(0.0, (record.updated_at - record.started_at).total_seconds() - _steps(record) * per_step[record.job_id])
        for record in chosen
        if record.started_at and _steps(record)
    ]
    return Pace(median(per_step.values()), median(besides) if besides else None)


def _steps(record: JobRecord) -> int:
    """The steps that the job took: fewer than planned if it stopped early."""
    return record.step or record.total_steps or 0


class Paces:
    """The pace of each backend, at most a minute old, for a server's event loop."""

    def __init__(self, jobs: Jobs, backends: Iterable[str]) -> None:
        self._jobs, self._backends = jobs, list(backends)
        self._known: Mapping[str, Pace] = {}
        self._learned_at = -_MAX_AGE_SECONDS
        self._learning: asyncio.Task[None] | None = None

    async def current(self) -> Mapping[str, Pace]:
        """The paces by backend, without those that are not known."""
        if time.monotonic() - self._learned_at >= _MAX_AGE_SECONDS and self._learning is None:
            self._learning = asyncio.create_task(self._learn())
        if self._learning is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_MAX_WAIT_SECONDS):
                    await asyncio.shield(self._learning)
        return self._known

    async def _learn(self) -> None:
        try:
            self._known = await asyncio.to_thread(self._read)
        except Refusal as error:
            log.warning("the pace of trainings was not learned: %s", error)
        except Exception:
            log.exception("the pace of trainings was not learned")
        finally:
            self._learned_at, self._learning = time.monotonic(), None

    def _read(self) -> dict[str, Pace]:
        records = list(islice(self._jobs.latest(), _MAX_RECORDS))
        return {name: pace for name in self._backends if (pace := learn(records, name) or self._known.get(name))}
