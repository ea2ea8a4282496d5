"""The process of an attempt at a job: `python -m training.run <job id> <attempt>`.

The job's record says how the attempt ended, whatever the process's exit status.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from core import disk, logs
from core.errors import Refusal
from core.settings import Settings, settings
from models.checkpoints import CheckpointError
from storage import Storage, open_storage
from training.attempt import Attempt
from training.jobs.cancellation import Stop, Stopped
from training.jobs.heartbeat import heartbeat
from training.jobs.record import JobRecord
from training.jobs.store import Jobs
from training.jobs.supervisor import STOPPED
from training.jobs.transitions import JobEnded
from training.loop import TrainingFailed
from training.pipeline import TrainingPipeline
from training.retry import retry_unavailable

log = logging.getLogger("producer_twin.training")

# On shared cores, serving has priority.
_NICENESS = 5


def run(
    job_id: str, attempt: int, storage: Storage, config: Settings, on_progress: Callable[[JobRecord], None], stop: Stop
) -> JobRecord:
    """Run an attempt at a job and return the job's last record. Errors are written into the record, not raised.

    Args:
        on_progress: called with the record after each change.
        stop: requests the end of the attempt.

    Raises:
        Refusal: 404, the record was deleted meanwhile; 500, it is damaged.
    """
    jobs = Jobs(storage)

    def update(**changes: Any) -> JobRecord:
        record = jobs.update(job_id, attempt=attempt, **changes)
        if record.cancelling:
            stop.request()
        on_progress(record)
        return record

    def fail(error: str, status: int = 500) -> None:
        retry_unavailable(lambda: jobs.fail(job_id, error, status, attempt=attempt))

    try:
        with heartbeat(jobs, job_id, attempt, stop.request):
            record = update(state="preparing")
            pipeline = TrainingPipeline(Attempt(record, storage, config, stop, update))
            try:
                pipeline.run()
                retry_unavailable(lambda: jobs.finish(record))
            except Stopped:
                if jobs.get(job_id).cancelling:
                    retry_unavailable(lambda: jobs.end_cancelled(record, pipeline.adapter_is_current))
                else:
                    fail(STOPPED, 503)
    except Stopped:
        fail(STOPPED, 503)
    except JobEnded:
        log.info("job %s has ended or belongs to another attempt", job_id)
    except Refusal as error:
        fail(error.message, error.status)
    except (CheckpointError, TrainingFailed) as error:
        fail(str(error))
    except Exception as error:
        log.exception("job %s", job_id)
        if isinstance(error, OSError) and error.errno in disk.FULL:
            fail("the disk of the training machine is full; make room and resume the job", 507)
        else:
            fail(f"training failed: {type(error).__name__}: {error}")
    last = jobs.get(job_id)
    on_progress(last)
    return last


def run_attempt(job_id: str, attempt: int) -> int:
    """Run an attempt in this process, which does nothing else. Returns its exit status."""
    config = settings()
    logs.configure(config, job_id=job_id)
    stop = Stop()
    stop.handle_signals()
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    storage = open_storage(config.storage_url, config.s3_endpoint_url)
    try:
        run(job_id, attempt, storage, config, lambda record: None, stop)
    except Refusal as error:  # the record is gone or damaged, so the error cannot be written into it
        log.warning("job %s: %s", job_id, error)
    return 0


def main() -> int:
    job_id, attempt = sys.argv[1:]
    return run_attempt(job_id, int(attempt))


if __name__ == "__main__":
    sys.exit(main())
