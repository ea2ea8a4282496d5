"""The job records in storage. They outlive every process that works on a job.

Every open job has a mark, an empty object in `open_jobs/`. It is written before the record is open and removed after
the record has ended, so that open jobs are found without reading every record.

A damaged record is left out of lists and can be deleted; a process that works on its job stops.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from contract import TERMINAL, JobAnswer, State, TrainRequest, is_id
from core import principal
from core.errors import Refusal
from core.recent import Recent
from core.text import shown
from storage import AlreadyExists, Changed, Damaged, Entry, NotFound, Storage, Unavailable, keys, records
from storage.webhooks import Deliveries
from training.jobs import transitions
from training.jobs.desertion import GRACE, HEARTBEAT_TIMEOUT, DesertionDetector, is_stale
from training.jobs.record import JobRecord, decode_job_id, result_of
from training.jobs.transitions import Event, JobEnded

# A mark without a record is left by a process that died between writing the two.
_ORPHANED_MARK_AGE = timedelta(minutes=1)
_MAX_CACHED_RECORDS = 10_000


class Jobs:
    """Reads and changes job records; every change is a row of `training.jobs.transitions`.

    Attributes:
        storage: where the records are.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._webhooks = Deliveries(storage)
        # By key, with the record's etag: a list of many jobs reads only the records that have changed.
        self._cache = Recent[str, tuple[str, JobRecord]](_MAX_CACHED_RECORDS)
        self._desertion = DesertionDetector()

    # Creating

    def existing(self, request: TrainRequest) -> JobRecord | None:
        """The job that the request's `job_id` names, None if there is none yet.

        Raises:
            Refusal: 409, that job was created by another request.
        """
        if request.job_id is None:
            return None
        try:
            record = self._read_job(request.job_id)
        except NotFound:
            return None
        before = record.request
        if before.segment_on == "time" and request.segment_on is None:
            # Earlier versions stored this default of theirs where a request named none.
            before = before.model_copy(update={"segment_on": None})
        if before.model_dump() != request.model_dump():
            raise Refusal(409, f"job_id: {request.job_id} exists with another request; choose another job_id")
        return record

    def create(self, request: TrainRequest, backend: str) -> JobRecord:
        """Put a new job into the queue.

        Raises:
            Refusal: 409, the `job_id` is the id of a task, which already names another job.
        """
        now = datetime.now(UTC)
        job_id = request.job_id or str(uuid.uuid4())
        if self.storage.stat(keys.job_of_task(job_id)):
            raise Refusal(409, f"job_id: {job_id} is taken; choose another job_id")
        record = JobRecord(
            job_id=job_id,
            producer_id=request.producer_id,
            model_name=request.model_name,
            backend=backend,
            state="queued",
            created_at=now,
            updated_at=now,
            queued_at=now,
            request=request.model_copy(update={"job_id": job_id}),
            account=principal.current().account,
        )
        self.storage.put(keys.open_job(job_id), b"")
        try:
            self.storage.put(keys.job_record(job_id), record.encode(), if_absent=True)
        except AlreadyExists:
            return self.existing(record.request) or record
        return record

    # Reading

    def get(self, some_id: str) -> JobRecord:
        """A job by its own id or its task's. One that was deserted is failed first.

        Raises:
            Refusal: 404; 500, its record is damaged.
        """
        lookups = (self._read_job, self._read_task) if is_id(some_id) else ()
        for lookup in lookups:
            try:
                return self._fail_if_deserted(lookup(some_id))
            except NotFound:
                continue
        raise no_job(some_id)

    def get_settled(self, some_id: str) -> JobRecord:
        """As `get`, for a caller that acts on the state: waits until a stale record is either written or failed.

        Raises:
            Refusal: 404; 500, its record is damaged.
        """
        record = self.get(some_id)
        if is_stale(record):
            time.sleep(GRACE.total_seconds())
            record = self.get(record.job_id)
        return record

    def by_task(self, task_id: str) -> JobRecord:
        """A job by its task's id only.

        Raises:
            Refusal: 404; 500, its record is damaged.
        """
        try:
            if is_id(task_id):
                return self._read_task(task_id)
        except NotFound:
            pass
        raise no_job(task_id)

    def resolve(self, some_id: str) -> str:
        """A job's id, from its own or its task's; its record may be damaged.

        Raises:
            Refusal: 404.
        """
        if is_id(some_id):
            if self.storage.stat(keys.job_record(some_id)):
                return some_id
            with contextlib.suppress(NotFound):
                return records.read(self.storage, keys.job_of_task(some_id), decode_job_id)[0]
        raise no_job(some_id)

    def all(self, producer: str | None = None, state: State | None = None) -> Iterator[JobRecord]:
        """The jobs, newest first, of one producer or in one state if given."""
        if state is not None and state not in TERMINAL:
            found = self.open()
        else:
            found = []
            for entry in self.storage.list("jobs/"):
                with contextlib.suppress(NotFound, Damaged):
                    found.append(self._fail_if_deserted(self._read_cached(entry)))
            self._restore_marks(found)
        for record in sorted(found, key=lambda record: record.created_at, reverse=True):
            if producer in (None, record.producer_id) and state in (None, record.state):
                yield record

    def latest(self) -> Iterator[JobRecord]:
        """The jobs whose records were written last, newest first. Only the records that are asked for are read."""
        for entry in sorted(self.storage.list("jobs/"), key=lambda entry: entry.modified, reverse=True):
            with contextlib.suppress(NotFound, Damaged):
                yield self._read_cached(entry)

    def open(self) -> list[JobRecord]:
        """The jobs that have not ended, in the order in which they were queued."""
        found = []
        for mark in self.storage.list("open_jobs/"):
            try:
                record = self._fail_if_deserted(self._read_marked(mark))
            except Damaged:
                continue
            except NotFound:
                if datetime.now(UTC) - mark.modified > _ORPHANED_MARK_AGE:
                    self.storage.delete(mark.key)
                continue
            if record.state in TERMINAL:
                self._remove_mark(record)
            else:
                found.append(record)
        return sorted(found, key=lambda record: record.queued_at or record.created_at)

    def unattended(self) -> list[JobRecord]:
        """The queued jobs whose supervisor has ended: their records are not written any more."""
        return [
            record
            for record in self.open()
            if record.state == "queued" and datetime.now(UTC) - record.updated_at > HEARTBEAT_TIMEOUT
        ]

    def answers(self, found: Iterable[JobRecord]) -> list[JobAnswer]:
        """The records as clients see them, with their positions in the queue."""
        shown = list(found)
        waiting = any(record.state == "queued" for record in shown)
        queue = [record.job_id for record in self.open() if record.state == "queued"] if waiting else []
        answers = [record.answer() for record in shown]
        for answer in answers:
            if answer.state == "queued":
                answer.queue_position = queue.index(answer.job_id) + 1 if answer.job_id in queue else 1
        return answers

    def answer(self, record: JobRecord) -> JobAnswer:
        """One record as clients see it, with its position in the queue."""
        return self.answers([record])[0]

    # Changing

    def name_task(self, job_id: str, task_id: str) -> None:
        """Let `get` find the job by the id of the BentoML task that waits for it."""
        self.storage.put(keys.job_of_task(task_id), job_id.encode())
        self._apply(job_id, "name_task", task_id=task_id)

    def claim(self, job_id: str, attempt: int) -> None:
        """Start work on a queued job. Raises `JobEnded` if another server was first."""
        self._apply_as_worker(job_id, "claim", attempt)

    def update(self, job_id: str, *, attempt: int | None = None, **changes: Any) -> JobRecord:
        """Change fields of an open job; without changes it is a heartbeat.

        Args:
            attempt: the one that the caller works on.

        Raises:
            JobEnded: the job has ended, is in another attempt, or its record is gone or damaged.
        """
        return self._apply_as_worker(job_id, "update", attempt, **changes)

    def finish(self, record: JobRecord) -> None:
        """The job is done. Raises `JobEnded`."""
        self._apply_as_worker(record.job_id, "finish", record.attempt, result=result_of(record))

    def end_cancelled(self, record: JobRecord, kept: bool) -> None:
        """The job has stopped because it was cancelled. Raises `JobEnded`.

        Args:
            kept: whether its adapter is the twin's current version, so that the job has a result.
        """
        self._apply_as_worker(record.job_id, "stop", record.attempt, result=result_of(record) if kept else None)

    def fail(self, job_id: str, error: str, status: int = 500, attempt: int | None = None) -> None:
        """End the job with an error, unless it has ended. One that was being cancelled is cancelled."""
        with contextlib.suppress(NotFound, Damaged):  # there is no record to write the error into
            self._apply(job_id, "fail", attempt, error=error, error_status=status)

    def cancel(self, some_id: str) -> JobRecord:
        """Ask for a job's end. A queued job ends at once, a working one within a step.

        Raises:
            Refusal: 404; 409, it is done or has failed.
        """
        return self._apply(self.get_settled(some_id).job_id, "cancel")

    def reopen(self, some_id: str) -> JobRecord:
        """Put a job that failed or was cancelled back into the queue. One that is open stays as it is.

        Raises:
            Refusal: 404; 409, it is done, or being cancelled.
        """
        return self._apply(self.get_settled(some_id).job_id, "resume")

    def _fail_if_deserted(self, record: JobRecord) -> JobRecord:
        if not self._desertion.is_deserted(record):
            return record
        try:
            return self._apply(record.job_id, "desert")
        except Unavailable:
            # Its process cannot write either, such as on a full disk.
            self._desertion.reset()
            return record
        except (NotFound, Damaged):
            return record

    def _apply_as_worker(self, job_id: str, event: Event, attempt: int | None, **fields: Any) -> JobRecord:
        try:
            return self._apply(job_id, event, attempt, **fields)
        except (NotFound, Damaged) as error:
            raise JobEnded(job_id) from error

    def _apply(self, job_id: str, event: Event, attempt: int | None = None, **fields: Any) -> JobRecord:
        """Apply an event to the stored record, and again if another process wrote the record meanwhile."""
        key = keys.job_record(job_id)
        while True:
            before, etag = self._read(key)
            changes = transitions.apply(before, event, attempt, **fields)
            if not changes:
                return before
            after = before.model_copy(update=changes)
            if before.state in TERMINAL and after.state not in TERMINAL:
                self.storage.put(keys.open_job(job_id), b"")
            try:
                self.storage.put(key, after.encode(), if_match=etag)
            except Changed:
                continue
            if after.state in TERMINAL:
                self._remove_mark(after)
            return after

    # Marks of open jobs

    def _remove_mark(self, record: JobRecord) -> None:
        """Remove the mark of a job that has ended, and put it back if the job was resumed meanwhile.

        Its webhook is stored first: a mark that is left by a process that was killed is removed by another one.
        """
        self._notify(record)
        self.storage.delete(keys.open_job(record.job_id))
        with contextlib.suppress(NotFound, Damaged):  # the job was deleted meanwhile
            if self._read_job(record.job_id).state not in TERMINAL:
                self.storage.put(keys.open_job(record.job_id), b"")

    def _notify(self, record: JobRecord) -> None:
        url, account = record.request.webhook_url, record.account
        if url is not None and account is not None:
            subject = f"{record.job_id} {record.attempt}"
            self._webhooks.add(account, url, f"job.{record.state}", subject, record.answer(), record.updated_at)

    def _restore_marks(self, found: list[JobRecord]) -> None:
        """Write the marks that open jobs have lost. `open` removes one that was written for a job that just ended."""
        opened = {keys.open_job(record.job_id) for record in found if record.state not in TERMINAL}
        if opened:
            with contextlib.suppress(Unavailable):
                for key in opened - {mark.key for mark in self.storage.list("open_jobs/")}:
                    self.storage.put(key, b"")

    # Single records

    def _read_job(self, job_id: str) -> JobRecord:
        return self._read(keys.job_record(job_id))[0]

    def _read_task(self, task_id: str) -> JobRecord:
        return self._read_job(records.read(self.storage, keys.job_of_task(task_id), decode_job_id)[0])

    def _read_marked(self, mark: Entry) -> JobRecord:
        """The record of an open job. Raises `NotFound`, also for a mark that names no job."""
        job_id = mark.key.removeprefix("open_jobs/")
        if not is_id(job_id):
            raise NotFound(mark.key)
        return self._read_job(job_id)

    def _read_cached(self, entry: Entry) -> JobRecord:
        etag, record = self._cache.get(entry.key, ("", None))
        if record is None or etag != entry.etag:
            record, etag = self._read(entry.key)
            self._cache[entry.key] = (etag, record)
        return record

    def _read(self, key: str) -> tuple[JobRecord, str]:
        try:
            return records.read(self.storage, key, JobRecord.decode)
        except Unavailable:
            self._desertion.reset()
            raise


def no_job(some_id: str) -> Refusal:
    """The 404 of a job that does not exist, or that the caller may not know of."""
    return Refusal(404, f"job_id: there is no job {shown(some_id)}")
