"""A producer: the storage that they use, and its deletion."""

from __future__ import annotations

import asyncio
from collections import Counter

from adapters.library import Library
from api.routes.examples import UPLOAD
from api.routes.handler import Front, Inputs
from api.routes.route import TRAIN, Route
from contract import TERMINAL, ProducerAnswer, ProducerDeletedAnswer
from core.errors import Refusal
from core.settings import Settings
from storage import Storage, keys
from storage.ownership import objects_of_job, objects_of_producer
from training.jobs.deletion import damaged_jobs, records_of
from training.jobs.store import Jobs


async def usage(front: Front, inputs: Inputs[None]) -> ProducerAnswer:
    return await asyncio.to_thread(_usage, inputs.path["producer_id"], front.storage, front.settings)


async def delete(front: Front, inputs: Inputs[None]) -> ProducerDeletedAnswer:
    return await asyncio.to_thread(delete_all, inputs.path["producer_id"], front.storage, front.jobs, front.library)


def _usage(producer: str, storage: Storage, settings: Settings) -> ProducerAnswer:
    """The producer's bytes by kind, and the limit."""
    by: Counter[str] = Counter()
    objects = 0
    for kind, entry in objects_of_producer(storage, producer):
        by[kind] += entry.size
        objects += 1
    return ProducerAnswer(
        producer_id=producer, bytes=by.total(), limit=settings.producer_max_bytes, objects=objects, by=dict(by)
    )


def delete_all(producer: str, storage: Storage, jobs: Jobs, library: Library) -> ProducerDeletedAnswer:
    """Remove all that is stored for a producer, damaged or not: uploads, datasets, twins, tracks, jobs.

    A job whose record is damaged counts as the producer's if its dataset is.

    Raises:
        Refusal: 404 if there is nothing, 409 while a job of theirs is under way.
    """
    records = list(jobs.all(producer))
    busy = [record.job_id for record in records if record.state not in TERMINAL]
    if busy:
        raise Refusal(409, f"producer_id: a job of {producer} is under way ({busy[0]}); wait for it, or cancel it")
    jobs_of = {record.job_id: [record.task_id] for record in records}
    jobs_of |= {job_id: [] for job_id in damaged_jobs(jobs, producer)}
    gone: list[str] = []
    size = 0

    def remove(key: str, bytes: int = 0) -> None:
        nonlocal size
        if storage.delete(key):
            gone.append(key)
            size += bytes

    # Listed before the twins are deleted, since that deletes their versions as well.
    stored = [entry for _, entry in objects_of_producer(storage, producer)]
    twins = {twin.header.lora_id for twin in library.all(producer)}
    twins |= {f"{producer}:{key.split('/')[2]}" for entry in stored if (key := entry.key).startswith("lora_versions/")}
    sizes = {entry.key: entry.size for entry in stored}
    for lora_id in sorted(twins):
        went = library.delete(lora_id, even_damaged=True)
        gone += went
        size += sum(sizes.get(key, 0) for key in went)
    for entry in stored:
        remove(entry.key, entry.size)
    for job_id, tasks in jobs_of.items():
        storage.delete(keys.open_job(job_id))  # the process that ended the job may not have removed it yet
        for entry in objects_of_job(storage, job_id):
            remove(entry.key, entry.size)
        for key in records_of(job_id, tasks):
            remove(key)
    for owner in library.names.of_producer(producer):
        remove(owner)
    if not gone:
        raise Refusal(404, f"producer_id: nothing is stored for {producer}")
    for lease in (keys.training_lease(producer), keys.lora_lease(producer)):
        storage.delete(lease)
    return ProducerDeletedAnswer(producer_id=producer, deleted=[keys.to_path(key) for key in gone], bytes=size)


ROUTES = (
    Route(
        "GET",
        "/producers/{producer_id}",
        "producers",
        "The storage that a producer uses, and the limit",
        TRAIN,
        usage,
        answer=(ProducerAnswer,),
        answer_example={
            "producer_id": "ada",
            "bytes": 31_752_044,
            "limit": None,
            "objects": 1,
            "by": {"uploads": 31_752_044},
        },
    ),
    Route(
        "DELETE",
        "/producers/{producer_id}",
        "producers",
        "Delete everything that is stored for a producer",
        TRAIN,
        delete,
        answer=(ProducerDeletedAnswer,),
        answer_example={"producer_id": "ada", "deleted": [UPLOAD], "bytes": 31_752_044},
        errors=(409,),
        writes=True,
    ),
)
