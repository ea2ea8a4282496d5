"""Detecting deserted jobs: open jobs whose process has ended without recording it.

The process that works on a job writes the job's record every `HEARTBEAT_INTERVAL`. A record that was not written for
`HEARTBEAT_TIMEOUT` is stale, and its job is suspected. The job counts as deserted once the same stale record has been
read again after `GRACE`: a process that could not reach storage for a while gets that long to write once more.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from contract import TERMINAL
from training.jobs.record import JobRecord

HEARTBEAT_INTERVAL = timedelta(seconds=2)
HEARTBEAT_TIMEOUT = timedelta(seconds=6)
# Longer, since a queued job has no process yet, and the server that will start it may be starting itself.
QUEUED_TIMEOUT = timedelta(seconds=60)
GRACE = timedelta(seconds=3)


def is_stale(record: JobRecord) -> bool:
    """Whether an open job's record was not written for longer than its process may be silent."""
    timeout = QUEUED_TIMEOUT if record.state == "queued" else HEARTBEAT_TIMEOUT
    return record.state not in TERMINAL and datetime.now(UTC) - record.updated_at > timeout


class DesertionDetector:
    """Remembers when this process first read each stale record, so that no read has to wait for `GRACE`."""

    def __init__(self) -> None:
        self._suspected: dict[str, tuple[datetime, float]] = {}

    def is_deserted(self, record: JobRecord) -> bool:
        """Whether the record is stale and has been known to be for `GRACE`."""
        if not is_stale(record):
            self._suspected.pop(record.job_id, None)
            return False
        updated_at, since = self._suspected.get(record.job_id, (None, 0.0))
        if updated_at != record.updated_at:
            since = time.monotonic()
            self._suspected[record.job_id] = (record.updated_at, since)
        return time.monotonic() - since >= GRACE.total_seconds()

    def reset(self) -> None:
        """Start `GRACE` anew for every suspected job, because storage was unavailable for their processes too."""
        self._suspected.clear()
