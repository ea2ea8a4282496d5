"""What is stored of a job."""

from __future__ import annotations

from pydantic import AwareDatetime

from contract import JobAnswer, State, TrainAnswer, TrainRequest, is_id
from storage import keys


class JobRecord(JobAnswer):
    """The answer's fields, and what only the service needs.

    Attributes:
        request: what was asked for; the same `job_id` with another request is refused.
        error_status: the HTTP status that the error has for whoever waits.
        attempt: how often the job was resumed; who worked on an earlier attempt has nothing to say any more.
        queued_at: since when it waits for its turn.
        cancelling: somebody asked for its end; whoever works on it sees that.
        deserted_in: the state in which it was presumed deserted.
    """

    created_at: AwareDatetime
    updated_at: AwareDatetime
    request: TrainRequest
    error_status: int | None = None
    attempt: int = 0
    queued_at: AwareDatetime | None = None
    cancelling: bool = False
    deserted_in: State | None = None

    def answer(self) -> JobAnswer:
        return JobAnswer(**self.model_dump(include=set(JobAnswer.model_fields)))

    def encode(self) -> bytes:
        return self.model_dump_json(by_alias=False).encode()

    @classmethod
    def decode(cls, data: bytes, key: str) -> JobRecord:
        """Raises ValueError for what is no record, or one of another job than `key` names."""
        record = cls.model_validate_json(data)
        if not is_id(record.job_id) or keys.job_record(record.job_id) != key:
            raise ValueError("it is the record of another job than its name says")
        return record


def decode_job_id(data: bytes, key: str) -> str:
    """What the name of a task holds. Raises ValueError for what is no job's id."""
    job_id = data.decode()
    if not is_id(job_id):
        raise ValueError("it names no job")
    return job_id


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
