"""Deleting a job: its record, dataset, report and checkpoint, but not its twins."""

from __future__ import annotations

from collections.abc import Iterable

from contract import TERMINAL
from core.errors import Refusal
from storage import Damaged, keys
from storage.ownership import objects_of_job
from training.jobs.store import Jobs


def delete_job(jobs: Jobs, some_id: str) -> list[str]:
    """Delete a job that has ended, or whose record is damaged, and return the deleted keys.

    Raises:
        Refusal: 404; 409, the job has not ended.
    """
    job_id = jobs.resolve(some_id)
    try:
        record = jobs.get_settled(job_id)
    except Damaged:
        record = None
    if record and record.state not in TERMINAL:
        raise Refusal(409, f"job_id: {job_id} is {record.state}; cancel it first")
    objects = [*objects_of_job(jobs.storage, job_id)]
    if record:
        objects += jobs.storage.list(f"datasets/{record.producer_id}/{job_id}/")
    tasks = {record.task_id} if record else {some_id} - {job_id}
    to_delete = [*(entry.key for entry in objects), *records_of(job_id, tasks)]
    return [key for key in to_delete if jobs.storage.delete(key)]


def records_of(job_id: str, tasks: Iterable[str | None]) -> list[str]:
    """The keys that make a job known. Its record comes last, so that an interrupted deletion can be repeated."""
    return [*(keys.job_of_task(task) for task in tasks if task), keys.open_job(job_id), keys.job_record(job_id)]


def damaged_jobs(jobs: Jobs, producer: str) -> list[str]:
    """The producer's jobs whose records are damaged, found by their datasets."""
    named = {entry.key.split("/")[2] for entry in jobs.storage.list(f"datasets/{producer}/")}
    return sorted(job_id for job_id in named if _is_damaged(jobs, job_id))


def _is_damaged(jobs: Jobs, job_id: str) -> bool:
    try:
        jobs.get(job_id)
    except Damaged:
        return True
    except Refusal:
        pass
    return False
