"""The job records in storage: what lasts of a training, whatever becomes of the processes that work on it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from contract import TERMINAL, JobAnswer, State, TrainAnswer, TrainRequest, is_id
from errors import Refusal
from storage import AlreadyExists, Changed, NotFound, Storage, Unavailable, keys

# Whoever works on a job writes its record this often at least; a record this much older has been deserted.
HEARTBEAT = timedelta(seconds=2)
DESERTED = timedelta(seconds=60)


class JobEnded(Exception):
    """The job has ended meanwhile (it was cancelled, or taken for dead): whoever works on it must stop."""


class JobRecord(JobAnswer):
    """What is stored: the answer's fields, and what only the service needs.

    Attributes:
        request: what was asked for; the same `job_id` with another request is refused.
        error_status: the HTTP status that the error has for whoever waits.
    """

    request: TrainRequest
    error_status: int | None = None

    def answer(self) -> JobAnswer:
        return JobAnswer(**self.model_dump(include=set(JobAnswer.model_fields)))


class Jobs:
    def __init__(self, storage: Storage) -> None:
        self.storage = storage

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
            request=request.model_copy(update={"job_id": job_id}),
        )
        try:
            self.storage.put(keys.job_record(job_id), _encode(record), if_absent=True)
        except AlreadyExists:
            return self.existing(record.request) or record
        return record

    def name_task(self, job_id: str, task_id: str) -> None:
        """Let `get` find the job by the task that carries it out."""
        self.storage.put(keys.job_of_task(task_id), job_id.encode())
        self.update(job_id, task_id=task_id)

    def get(self, some_id: str) -> JobRecord:
        """A job by its own id or its task's; one that was deserted is failed first.

        Raises:
            Refusal: 404.
        """
        lookups = (self._read_job, self._read_task) if is_id(some_id) else ()
        for lookup in lookups:
            try:
                record = lookup(some_id)
            except NotFound:
                continue
            return self._mourn(record)
        raise no_job(some_id)

    def all(self, producer: str | None = None, state: State | None = None) -> Iterator[JobRecord]:
        """Jobs, the newest first."""
        records = [self._mourn(self._read(entry.key)[0]) for entry in self.storage.list("jobs/")]
        for record in sorted(records, key=lambda record: record.created_at, reverse=True):
            if producer in (None, record.producer_id) and state in (None, record.state):
                yield record

    def answer(self, record: JobRecord) -> JobAnswer:
        """The record as clients see it, with its place in the queue."""
        answer = record.answer()
        if record.state == "queued":
            ahead = [other for other in self.all(state="queued") if other.created_at < record.created_at]
            answer.queue_position = len(ahead) + 1
        return answer

    def update(self, job_id: str, expect: State | None = None, **changes: Any) -> JobRecord:
        """Change fields of a job that has not ended.

        Raises:
            JobEnded: it has, or it is not in the state `expect`.
        """
        while True:
            record, etag = self._read(keys.job_record(job_id))
            task_only = changes.keys() == {"task_id"}
            if (record.state in TERMINAL and not task_only) or expect not in (None, record.state):
                raise JobEnded(job_id)
            record = record.model_copy(update={"updated_at": datetime.now(UTC)} | changes)
            try:
                self.storage.put(keys.job_record(job_id), _encode(record), if_match=etag)
                return record
            except Changed:
                continue

    def claim(self, job_id: str) -> None:
        """Take a queued job on. Raises `JobEnded` if another server did."""
        self.update(job_id, expect="queued", state="preparing")

    @contextmanager
    def heartbeat(self, job_id: str) -> Iterator[None]:
        """Within the context a thread shows that the job is not deserted, whatever the caller is busy with."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(HEARTBEAT.total_seconds()):
                try:
                    self.update(job_id)
                except JobEnded:
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

    def fail(self, job_id: str, error: str, status: int = 500) -> None:
        """End the job with its reason, unless it has ended."""
        try:
            self.update(job_id, state="failed", error=error, error_status=status, seconds_left=None)
        except JobEnded:
            return

    def finish(self, record: JobRecord) -> None:
        self.update(record.job_id, state="done", seconds_left=0.0, result=result_of(record))

    def _mourn(self, record: JobRecord) -> JobRecord:
        if record.state in TERMINAL or datetime.now(UTC) - record.updated_at < DESERTED:
            return record
        self.fail(record.job_id, f"the process that worked on the job ended while it was {record.state}")
        return self._read_job(record.job_id)

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
