"""One attempt at a job, which all stages of its pipeline share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.settings import Settings
from storage import Storage, Unavailable
from training.jobs.cancellation import Stop
from training.jobs.record import JobRecord
from training.retry import retry_unavailable


@dataclass(frozen=True)
class Attempt:
    """The job, where its results are stored, and how a stage reports progress and learns that it must stop.

    Attributes:
        record: the job's record as the attempt began.
        write_record: changes fields of the stored record and returns it. Raises `JobEnded`.
    """

    record: JobRecord
    storage: Storage
    settings: Settings
    stop: Stop
    write_record: Callable[..., JobRecord]

    def update(self, **changes: Any) -> JobRecord:
        """Change the job's record, and wait for storage if it is unavailable."""
        return retry_unavailable(lambda: self.write_record(**changes))

    def try_update(self, **changes: Any) -> None:
        """Change the job's record unless storage is unavailable: for progress, which is soon out of date."""
        with contextlib.suppress(Unavailable):
            self.write_record(**changes)
