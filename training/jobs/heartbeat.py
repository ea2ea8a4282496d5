"""The heartbeat of a job's process: a thread that writes the job's record at regular intervals."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from storage import Unavailable
from training.jobs.desertion import HEARTBEAT_INTERVAL
from training.jobs.store import Jobs
from training.jobs.transitions import JobEnded


@contextmanager
def heartbeat(jobs: Jobs, job_id: str, attempt: int, on_stop: Callable[[], None]) -> Iterator[None]:
    """Write the job's record every `HEARTBEAT_INTERVAL` while the block runs, also during long steps.

    Args:
        on_stop: called from the thread when the job is to be cancelled, has ended, or belongs to another attempt.
    """
    done = threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT_INTERVAL.total_seconds()):
            try:
                if jobs.update(job_id, attempt=attempt).cancelling:
                    on_stop()
            except JobEnded:
                on_stop()
                return
            except Unavailable:
                continue

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
