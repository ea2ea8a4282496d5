"""The stored record of a job."""

from __future__ import annotations

from pydantic import AwareDatetime

from contract import JobAnswer, State, TrainAnswer, TrainRequest, is_id
from storage import keys


class JobRecord(JobAnswer):
    """The fields of the client's answer, and those that only the service needs.

    Attributes:
        request: the train request; another request with the same `job_id` is refused.
        error_status: the HTTP status of the error, for a request that waits for the job.
        attempt: how often the job was resumed. A process that works on an earlier attempt may not write any more.
        started_at: when the first attempt began.
        queued_at: when the job was last put into the queue.
        cancelling: whether cancellation was requested; the job's process reads it with each heartbeat.
        account: of the principal that sent the request, for its webhook.
        deserted_in: the state in which the job was presumed deserted (see `training.jobs.desertion`).
    """

    created_at: AwareDatetime
    updated_at: AwareDatetime
    request: TrainRequest
    error_status: int | None = None
    attempt: int = 0
    started_at: AwareDatetime | None = None
    queued_at: AwareDatetime | None = None
    cancelling: bool = False
    deserted_in: State | None = None
    account: str | None = None

    def answer(self) -> JobAnswer:
        return JobAnswer(**self.model_dump(include=set(JobAnswer.model_fields)))

    def encode(self) -> bytes:
        return self.model_dump_json(by_alias=False).encode()

    @classmethod
    def decode(cls, data: bytes, key: str) -> JobRecord:
        """Raises ValueError if the data is no record, or the record of another job than `key` names."""
        record = cls.model_validate_json(data)
        if not is_id(record.job_id) or keys.job_record(record.job_id) != key:
            raise ValueError("it is the record of another job than its name says")
        return record


def decode_job_id(data: bytes, key: str) -> str:
    """The job's id that is stored under a task's id. Raises ValueError if it is none."""
    job_id = data.decode()
    if not is_id(job_id):
        raise ValueError("it names no job")
    return job_id


def result_of(record: JobRecord) -> TrainAnswer:
    """The answer of `/train` for a job that is done."""
    return TrainAnswer(
        job_id=record.job_id,
        producer_id=record.producer_id,
        model_name=record.model_name,
        backend=record.backend,
        lora_path=keys.to_path(keys.lora(record.producer_id, record.model_name)),
        models_path=keys.to_path(keys.model(record.producer_id)),
    )
