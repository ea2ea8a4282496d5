"""The process of a job: `python -m training.run <job id> <attempt>`. However it ends, the job's record says how."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from core import logs
from core.errors import Refusal
from core.settings import Settings, settings
from models.checkpoints import CheckpointError
from storage import Storage, open_storage
from training.jobs.cancellation import Stop, Stopped
from training.jobs.store import JobEnded, JobRecord, Jobs
from training.jobs.supervisor import STOPPED
from training.loop import TrainingFailed
from training.pipeline import TrainingPipeline, patiently

log = logging.getLogger("producer_twin.training")

# Serving goes first where both share the cores.
_NICE = 5
_FULL = (errno.ENOSPC, errno.EDQUOT)


def run(
    job_id: str, attempt: int, storage: Storage, config: Settings, on_progress: Callable[[JobRecord], None], stop: Stop
) -> JobRecord:
    """Carry out an attempt at a job and return its last record. What goes wrong is written down there, not raised.

    Raises:
        Refusal: 404, the record was deleted meanwhile; 500, it is damaged.
    """
    jobs = Jobs(storage)

    def tell(**changes: Any) -> JobRecord:
        record = jobs.update(job_id, attempt=attempt, **changes)
        if record.cancelling:
            stop.ask()
        on_progress(record)
        return record

    def fail(error: str, status: int = 500) -> None:
        patiently(lambda: jobs.fail(job_id, error, status, attempt=attempt))

    try:
        with jobs.heartbeat(job_id, attempt, stop.ask):
            record = tell(state="preparing")
            work = TrainingPipeline(record, storage, config, tell, stop)
            try:
                work.carry_out()
                patiently(lambda: jobs.finish(record))
            except Stopped:
                if jobs.get(job_id).cancelling:
                    patiently(lambda: jobs.end_cancelled(record, work.kept))
                else:
                    fail(STOPPED, 503)
    except Stopped:
        fail(STOPPED, 503)
    except JobEnded:
        log.info("job %s was ended by someone else", job_id)
    except Refusal as error:
        fail(error.message, error.status)
    except (CheckpointError, TrainingFailed) as error:
        fail(str(error))
    except Exception as error:
        log.exception("job %s", job_id)
        if isinstance(error, OSError) and error.errno in _FULL:
            fail("the disk of the training machine is full; make room and resume the job", 507)
        else:
            fail(f"training failed: {type(error).__name__}: {error}")
    last = jobs.get(job_id)
    on_progress(last)
    return last


def main() -> int:
    config = settings()
    job_id, attempt = sys.argv[1:]
    logs.configure(config, job_id=job_id)
    stop = Stop()
    stop.listen()
    if hasattr(os, "nice"):
        os.nice(_NICE)
    storage = open_storage(config.storage_url, config.s3_endpoint_url)
    try:
        run(job_id, int(attempt), storage, config, lambda record: None, stop)
    except Refusal as error:  # the record is gone or damaged: there is nothing to write the end into
        log.warning("job %s: %s", job_id, error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
