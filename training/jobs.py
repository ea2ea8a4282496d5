"""The job records in storage: what lasts of a training, whatever becomes of the processes that work on it.

Every open job has a mark in `open_jobs/`, which is made before the record is open and removed after it has ended, so
that what is open is known without reading every record. Whoever works on a job shows it by writing the record every
HEARTBEAT; a record that is older than DESERTED is failed by whoever reads it. That is a presumption: a worker that
was only held up takes its job back with its next write, unless the job was resumed meanwhile, which is another attempt.
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

from pydantic import ValidationError

from contract import TERMINAL, JobAnswer, State, TrainAnswer, TrainRequest, is_id
from errors import Refusal
from storage import AlreadyExists, Changed, Entry, NotFound, Storage, Unavailable, keys

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


class JobRecord(JobAnswer):
    """What is stored: the answer's fields, and what only the service needs.

    Attributes:
        request: what was asked for; the same `job_id` with another request is refused.
        error_status: the HTTP status that the error has for whoever waits.
        attempt: how often the job was resumed; who worked on an earlier attempt has nothing to say any more.
        queued_at: since when it waits for its turn.
        cancelling: somebody asked for its end; whoever works on it sees that.
        deserted_in: the state in which it was presumed deserted.
    """

    request: TrainRequest
    error_status: int | None = None
    attempt: int = 0
    queued_at: datetime | None = None
    cancelling: bool = False
    deserted_in: State | None = None

    def answer(self) -> JobAnswer:
        return JobAnswer(**self.model_dump(include=set(JobAnswer.model_fields)))


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
        """Put a new job into the queue."""
        now = datetime.now(UTC)
        job_id = request.job_id or str(uuid.uuid4())
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
            self.storage.put(keys.job_record(job_id), _encode(record), if_absent=True)
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
            Refusal: 404.
        """
        lookups = (self._read_job, self._read_task) if is_id(some_id) else ()
        for lookup in lookups:
            try:
                return self._mourn([lookup(some_id)])[0]
            except NotFound:
                continue
        raise no_job(some_id)

    def all(self, producer: str | None = None, state: State | None = None) -> Iterator[JobRecord]:
        """Jobs, the newest first."""
        if state is not None and state not in TERMINAL:
            records = self.open()
        else:
            records = self._mourn([self._latest(entry) for entry in self.storage.list("jobs/")])
        for record in sorted(records, key=lambda record: record.created_at, reverse=True):
            if producer in (None, record.producer_id) and state in (None, record.state):
                yield record

    def open(self) -> list[JobRecord]:
        """The jobs that have not ended, those that have waited longest first."""
        marked = []
        for mark in self.storage.list("open_jobs/"):
            try:
                marked.append(self._read_job(mark.key.rpartition("/")[2]))
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

    def answers(self, records: Iterable[JobRecord]) -> list[JobAnswer]:
        """The records as clients see them, with their places in the queue."""
        shown = list(records)
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
            JobEnded: it has, or it is in another state or another attempt.
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

        return self._change(job_id, apply)

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

        self._change(job_id, apply)

    def finish(self, record: JobRecord) -> None:
        self.update(record.job_id, attempt=record.attempt, state="done", seconds_left=0.0, result=result_of(record))

    def end_cancelled(self, record: JobRecord, kept: bool) -> None:
        """The job has stopped as it was asked to; `kept` says whether its adapter is what the twin's id stands for."""
        result = result_of(record) if kept else None
        self.update(record.job_id, attempt=record.attempt, state="cancelled", seconds_left=None, result=result)

    def _mourn(self, records: list[JobRecord]) -> list[JobRecord]:
        """The records; those of deserted jobs as failed as they are now."""
        if any(_deserted(record) for record in records):
            time.sleep(_GRACE.total_seconds())
        return [self._fail_deserted(record) if _deserted(record) else record for record in records]

    def _fail_deserted(self, record: JobRecord) -> JobRecord:
        def apply(now: JobRecord) -> dict[str, Any]:
            if not _deserted(now):  # somebody has written it meanwhile
                return {}
            reason = f"the process that worked on the job ended while it was {now.state}; resume it to go on"
            ended = {"state": "cancelled"} if now.cancelling else {"state": "failed", "deserted_in": now.state}
            return ended | {"error": reason, "error_status": 500, "seconds_left": None}

        try:
            return self._change(record.job_id, apply)
        except Unavailable:
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
                self.storage.put(keys.job_record(job_id), _encode(record), if_match=etag)
            except Changed:
                continue
            if record.state in TERMINAL:
                self._close(record)
            return record

    def _close(self, record: JobRecord) -> None:
        """Remove the mark of a job that has ended, and put it back if the job was resumed meanwhile."""
        self.storage.delete(keys.open_job(record.job_id))
        with contextlib.suppress(NotFound):  # it was deleted meanwhile, with all that its producer had
            if self._read_job(record.job_id).state not in TERMINAL:
                self.storage.put(keys.open_job(record.job_id), b"")

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

    def _read_task(self, task_id: str) -> JobRecord:
        return self._read_job(self.storage.get(keys.job_of_task(task_id)).decode())

    def _read(self, key: str) -> tuple[JobRecord, str]:
        data, etag = self.storage.get_with_etag(key)
        try:
            return JobRecord.model_validate_json(data), etag
        except ValidationError as error:
            raise Refusal(500, f"the record {keys.to_path(key)} is damaged") from error


def no_job(some_id: str) -> Refusal:
    return Refusal(404, f"job_id: there is no job {keys.shown(some_id)}")


def _deserted(record: JobRecord) -> bool:
    patience = FORGOTTEN if record.state == "queued" else DESERTED
    return record.state not in TERMINAL and datetime.now(UTC) - record.updated_at > patience


def result_of(record: JobRecord) -> TrainAnswer:
    """What `/train` answers for a job that is done."""
    return TrainAnswer(
        job_id=record.job_id,
        producer_id=record.producer_id,
        model_name=record.model_name,
        backend=record.backend,
        lora_path=keys.to_path(keys.lora(record.producer_id, record.model_name)),
        models_path=keys.to_path(keys.model(record.producer_id)),
    )


def _encode(record: JobRecord) -> bytes:
    return record.model_dump_json(by_alias=False).encode()
