"""The job records in storage: what lasts of a training, whatever becomes of the processes that work on it.

Every open job has a mark in `open_jobs/`, which is made before the record is open and removed after it has ended, so
that what is open is known without reading every record. Whoever works on a job shows it by writing the record every
HEARTBEAT; a record that is older than DESERTED is failed by whoever reads it. That is a presumption: a worker that
was only held up takes its job back with its next write, unless the job was resumed meanwhile, which is another attempt.

A damaged record is left out where many are read, and can be deleted. Whoever works on its job stops.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from contract import TERMINAL, JobAnswer, State, TrainRequest, is_id
from core.errors import Refusal
from core.text import shown
from storage import AlreadyExists, Changed, Damaged, Entry, NotFound, Storage, Unavailable, keys, records
from training.jobs.record import JobRecord, decode_job_id, result_of

__all__ = ["DESERTED", "HEARTBEAT", "JobEnded", "JobRecord", "Jobs", "no_job", "result_of"]

HEARTBEAT = timedelta(seconds=2)
DESERTED = timedelta(seconds=6)
# A job in the queue has no process yet that could die: whoever is to take it on may still be starting.
FORGOTTEN = timedelta(seconds=60)
# Storage may have been away, for whoever works on the job as well: they have this long to write the record again.
_GRACE = timedelta(seconds=3)
# A mark without a record, left by a process that died between the two.
_ORPHANED = timedelta(minutes=1)
# Records kept in memory, of some kilobytes each.
_KNOWN = 10_000


class JobEnded(Exception):
    """The job has ended meanwhile (it was cancelled, or is another's to do): whoever works on it must stop."""


class Jobs:
    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        # Records by key, with the etag they had: a list of many jobs reads only what has changed.
        self._known: dict[str, tuple[str, JobRecord]] = {}

    def existing(self, request: TrainRequest) -> JobRecord | None:
        """The job that the request names, if there is one already.

        Raises:
            Refusal: 409, the job was asked to do something else.
        """
        if request.job_id is None:
            return None
        try:
            record = self._read(keys.job_record(request.job_id))[0]
        except NotFound:
            return None
        if record.request.model_dump() != request.model_dump():
            raise Refusal(409, f"job_id: {request.job_id} exists with another request; choose another job_id")
        return record

    def create(self, request: TrainRequest, backend: str) -> JobRecord:
        """Put a new job into the queue.

        Raises:
            Refusal: 409, its id is that of a task, by which another job can be asked for.
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
        )
        self.storage.put(keys.open_job(job_id), b"")
        try:
            self.storage.put(keys.job_record(job_id), record.encode(), if_absent=True)
        except AlreadyExists:
            return self.existing(record.request) or record
        return record

    def name_task(self, job_id: str, task_id: str) -> None:
        """Let `get` find the job by the task that carries it out."""
        self.storage.put(keys.job_of_task(task_id), job_id.encode())
        self._change(job_id, lambda record: {"task_id": task_id})

    def get(self, some_id: str) -> JobRecord:
        """A job by its own id or its task's; one that was deserted is failed first.

        Raises:
            Refusal: 404; 500, its record is damaged.
        """
        lookups = (self._read_job, self._read_task) if is_id(some_id) else ()
        for lookup in lookups:
            try:
                return self._mourn([lookup(some_id)])[0]
            except NotFound:
                continue
        raise no_job(some_id)

    def by_task(self, task_id: str) -> JobRecord:
        """The job that a task carries out; a job's own id is none of a task.

        Raises:
            Refusal: 404; 500, its record is damaged.
        """
        try:
            if is_id(task_id):
                return self._read_task(task_id)
        except NotFound:
            pass
        raise no_job(task_id)

    def all(self, producer: str | None = None, state: State | None = None) -> Iterator[JobRecord]:
        """Jobs, the newest first."""
        if state is not None and state not in TERMINAL:
            found = self.open()
        else:
            found = []
            for entry in self.storage.list("jobs/"):
                with contextlib.suppress(NotFound, Damaged):
                    found.append(self._latest(entry))
            found = self._mourn(found)
            self._mark_open(found)
        for record in sorted(found, key=lambda record: record.created_at, reverse=True):
            if producer in (None, record.producer_id) and state in (None, record.state):
                yield record

    def open(self) -> list[JobRecord]:
        """The jobs that have not ended, those that have waited longest first."""
        marked = []
        for mark in self.storage.list("open_jobs/"):
            try:
                marked.append(self._read_marked(mark))
            except Damaged:
                continue
            except NotFound:
                if datetime.now(UTC) - mark.modified > _ORPHANED:
                    self.storage.delete(mark.key)
        found = []
        for record in self._mourn(marked):
            if record.state in TERMINAL:
                self._close(record)
            else:
                found.append(record)
        return sorted(found, key=lambda record: record.queued_at or record.created_at)

    def unattended(self) -> list[JobRecord]:
        """Jobs in the queue of which nobody gives a sign of life: whoever was to take them on has ended."""
        return [
            record
            for record in self.open()
            if record.state == "queued" and datetime.now(UTC) - record.updated_at > DESERTED
        ]

    def answers(self, found: Iterable[JobRecord]) -> list[JobAnswer]:
        """The records as clients see them, with their places in the queue."""
        shown = list(found)
        waiting = any(record.state == "queued" for record in shown)
        queue = [record.job_id for record in self.open() if record.state == "queued"] if waiting else []
        answers = [record.answer() for record in shown]
        for answer in answers:
            if answer.state == "queued":
                answer.queue_position = queue.index(answer.job_id) + 1 if answer.job_id in queue else 1
        return answers

    def answer(self, record: JobRecord) -> JobAnswer:
        return self.answers([record])[0]

    def update(
        self, job_id: str, *, expect: State | None = None, attempt: int | None = None, **changes: Any
    ) -> JobRecord:
        """Change fields of a job that has not ended.

        Args:
            expect: the state that it must be in.
            attempt: the one that the caller works on.

        Raises:
            JobEnded: it has, or it is in another state or another attempt, or its record is gone or damaged.
        """

        def apply(record: JobRecord) -> dict[str, Any]:
            revived: dict[str, Any] = {}
            if record.state in TERMINAL and record.deserted_in and attempt is not None:
                revived = {"state": record.deserted_in, "deserted_in": None, "error": None, "error_status": None}
            elif record.state in TERMINAL:
                raise JobEnded(job_id)
            if expect not in (None, record.state) or attempt not in (None, record.attempt):
                raise JobEnded(job_id)
            if revived:
                self.storage.put(keys.open_job(job_id), b"")
            return {"updated_at": datetime.now(UTC)} | revived | changes

        try:
            return self._change(job_id, apply)
        except (NotFound, Damaged) as error:
            raise JobEnded(job_id) from error

    def claim(self, job_id: str, attempt: int) -> None:
        """Take a queued job on. Raises `JobEnded` if another server did."""
        self.update(job_id, expect="queued", attempt=attempt, state="preparing")

    @contextmanager
    def heartbeat(self, job_id: str, attempt: int, on_cancel: Callable[[], None]) -> Iterator[None]:
        """Within the context a thread shows that the job is not deserted, whatever the caller is busy with.

        `on_cancel` is called, from that thread, once the job is to be cancelled or is not the caller's any more.
        """
        done = threading.Event()

        def beat() -> None:
            while not done.wait(HEARTBEAT.total_seconds()):
                try:
                    if self.update(job_id, attempt=attempt).cancelling:
                        on_cancel()
                except JobEnded:
                    on_cancel()
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

    def cancel(self, some_id: str) -> JobRecord:
        """Ask for a job's end. One that waits in the queue ends at once, one that is worked on within a step.

        Raises:
            Refusal: 404; 409, it has ended otherwise.
        """

        def apply(record: JobRecord) -> dict[str, Any]:
            if record.state in ("done", "failed"):
                raise Refusal(409, f"job_id: {record.job_id} is {record.state}; only a job under way can be cancelled")
            if record.state == "cancelled" or record.cancelling:
                return {}
            return {"state": "cancelled"} if record.state == "queued" else {"cancelling": True}

        return self._change(self.get(some_id).job_id, apply)

    def reopen(self, some_id: str) -> JobRecord:
        """Put a job that failed or was cancelled back into the queue; one that is under way is left as it is.

        Raises:
            Refusal: 404; 409, it is done, or about to be cancelled.
        """
        job_id = self.get(some_id).job_id

        def apply(record: JobRecord) -> dict[str, Any]:
            if record.state == "done":
                raise Refusal(409, f"job_id: {job_id} is done; there is nothing to resume")
            if record.state not in TERMINAL:
                if record.cancelling:
                    raise Refusal(409, f"job_id: {job_id} is being cancelled; resume it when it is")
                return {}
            self.storage.put(keys.open_job(job_id), b"")
            now = datetime.now(UTC)
            cleared = dict.fromkeys(("error", "error_status", "result", "seconds_left", "deserted_in"))
            again = {"state": "queued", "attempt": record.attempt + 1, "cancelling": False}
            return cleared | again | {"queued_at": now, "updated_at": now}

        return self._change(job_id, apply)

    def fail(self, job_id: str, error: str, status: int = 500, attempt: int | None = None) -> None:
        """End the job with its reason, unless it has ended. One that was to be cancelled is cancelled."""

        def apply(record: JobRecord) -> dict[str, Any]:
            if record.state in TERMINAL or attempt not in (None, record.attempt):
                return {}
            ended = {"state": "cancelled"} if record.cancelling else {"state": "failed"}
            told = {"error": error, "error_status": status, "seconds_left": None}
            return ended | told | {"updated_at": datetime.now(UTC)}

        with contextlib.suppress(NotFound, Damaged):  # then there is nothing to write it into
            self._change(job_id, apply)

    def finish(self, record: JobRecord) -> None:
        self.update(record.job_id, attempt=record.attempt, state="done", seconds_left=0.0, result=result_of(record))

    def end_cancelled(self, record: JobRecord, kept: bool) -> None:
        """The job has stopped as it was asked to; `kept` says whether its adapter is what the twin's id stands for."""
        result = result_of(record) if kept else None
        self.update(record.job_id, attempt=record.attempt, state="cancelled", seconds_left=None, result=result)

    def resolve(self, some_id: str) -> str:
        """A job's id, from its own or its task's, whatever state its record is in. Raises Refusal (404)."""
        if is_id(some_id):
            if self.storage.stat(keys.job_record(some_id)):
                return some_id
            with contextlib.suppress(NotFound):
                return records.read(self.storage, keys.job_of_task(some_id), decode_job_id)[0]
        raise no_job(some_id)

    def _mourn(self, found: list[JobRecord]) -> list[JobRecord]:
        """The records; those of deserted jobs as failed as they are now."""
        if any(_deserted(record) for record in found):
            time.sleep(_GRACE.total_seconds())
        return [self._fail_deserted(record) if _deserted(record) else record for record in found]

    def _fail_deserted(self, record: JobRecord) -> JobRecord:
        def apply(now: JobRecord) -> dict[str, Any]:
            if not _deserted(now):  # somebody has written it meanwhile
                return {}
            reason = f"the process that worked on the job ended while it was {now.state}; resume it to go on"
            ended = {"state": "cancelled"} if now.cancelling else {"state": "failed", "deserted_in": now.state}
            return ended | {"error": reason, "error_status": 500, "seconds_left": None}

        try:
            return self._change(record.job_id, apply)
        except (Unavailable, NotFound, Damaged):
            return record  # where nothing can be written, such as on a full disk, its silence says nothing

    def _change(self, job_id: str, apply: Callable[[JobRecord], dict[str, Any]]) -> JobRecord:
        """Write what `apply` makes of the record as it is now; it may be asked again if somebody else wrote."""
        while True:
            record, etag = self._read(keys.job_record(job_id))
            changes = apply(record)
            if not changes:
                return record
            record = record.model_copy(update=changes)
            try:
                self.storage.put(keys.job_record(job_id), record.encode(), if_match=etag)
            except Changed:
                continue
            if record.state in TERMINAL:
                self._close(record)
            return record

    def _close(self, record: JobRecord) -> None:
        """Remove the mark of a job that has ended, and put it back if the job was resumed meanwhile."""
        self.storage.delete(keys.open_job(record.job_id))
        with contextlib.suppress(NotFound, Damaged):  # it was deleted meanwhile, with all that its producer had
            if self._read_job(record.job_id).state not in TERMINAL:
                self.storage.put(keys.open_job(record.job_id), b"")

    def _mark_open(self, found: list[JobRecord]) -> None:
        """Make the marks anew that were lost of open jobs. One of a job that has just ended goes by itself."""
        opened = {keys.open_job(record.job_id) for record in found if record.state not in TERMINAL}
        if opened:
            with contextlib.suppress(Unavailable):
                for key in opened - {mark.key for mark in self.storage.list("open_jobs/")}:
                    self.storage.put(key, b"")

    def _latest(self, entry: Entry) -> JobRecord:
        etag, record = self._known.get(entry.key, ("", None))
        if record is None or etag != entry.etag:
            record, etag = self._read(entry.key)
            self._known[entry.key] = (etag, record)
            if len(self._known) > _KNOWN:
                del self._known[next(iter(self._known))]
        return record

    def _read_job(self, job_id: str) -> JobRecord:
        return self._read(keys.job_record(job_id))[0]

    def _read_marked(self, mark: Entry) -> JobRecord:
        """The record of an open job. Raises NotFound, also for a mark that names no job."""
        job_id = mark.key.removeprefix("open_jobs/")
        if not is_id(job_id):
            raise NotFound(mark.key)
        return self._read_job(job_id)

    def _read_task(self, task_id: str) -> JobRecord:
        return self._read_job(records.read(self.storage, keys.job_of_task(task_id), decode_job_id)[0])

    def _read(self, key: str) -> tuple[JobRecord, str]:
        return records.read(self.storage, key, JobRecord.decode)


def no_job(some_id: str) -> Refusal:
    return Refusal(404, f"job_id: there is no job {shown(some_id)}")


def _deserted(record: JobRecord) -> bool:
    patience = FORGOTTEN if record.state == "queued" else DESERTED
    return record.state not in TERMINAL and datetime.now(UTC) - record.updated_at > patience
