"""A producer: the storage that they use, and its deletion; where users sign in, its owner and its twins' visibility."""

from __future__ import annotations

import asyncio
from collections import Counter

from api.auth.keys import read_keys
from api.capacity.thread_pools import to_record_thread
from api.routes.examples import TWIN, UPLOAD
from api.routes.handler import Front, Inputs
from api.routes.route import TRAIN, Route
from contract import (
    TERMINAL,
    ProducerAnswer,
    ProducerDeletedAnswer,
    ProducerRecordAnswer,
    ProducerRequest,
    ProducersAnswer,
    UsageAnswer,
)
from core import principal
from core.errors import Refusal
from core.settings import Settings
from storage import AlreadyExists, Storage, keys
from storage.ownership import is_of_producer, objects_of_job, objects_of_producer, submissions_of
from storage.producers import ProducerRecord, Producers
from storage.record_index import RecordIndex
from storage.usage import delete_usage, usage_of
from training.jobs.deletion import damaged_jobs, records_of

# Each write of a user reads the records of all of them, and an id that is taken is no other user's.
MAX_CLAIMED = 100


async def stored(front: Front, inputs: Inputs[None]) -> ProducerAnswer:
    return await asyncio.to_thread(_stored, inputs.path["producer_id"], front.storage, front.settings)


async def delete(front: Front, inputs: Inputs[None]) -> ProducerDeletedAnswer:
    return await asyncio.to_thread(_delete_all, inputs.path["producer_id"], front)


async def list_all(front: Front, inputs: Inputs[None]) -> ProducersAnswer:
    return ProducersAnswer(producers=await to_record_thread(_records, front.producers))


async def put(front: Front, inputs: Inputs[ProducerRequest]) -> ProducerRecordAnswer:
    """Claim a producer's id if it is free; then set what the body names."""
    producer, who, owner = inputs.path["producer_id"], principal.current(), inputs.body.owner
    if owner is not None and owner != who.subject and "admin" not in who.scopes:
        raise Refusal(403, "owner: only an administrator names another user; leave it out")
    if not who.may_claim:
        principal.check_producer(producer)
    record = await asyncio.to_thread(_claimed_and_changed, front, producer, inputs.body)
    for subject in (who.subject, owner):
        if front.sign_in and subject is not None:
            front.sign_in.owned.forget(front.sign_in.owner(subject))
    return record


async def usage(front: Front, inputs: Inputs[None]) -> UsageAnswer:
    producer = inputs.path["producer_id"]
    return UsageAnswer(producer_id=producer, usage=await asyncio.to_thread(usage_of, front.storage, producer))


def _records(producers: Producers) -> list[ProducerRecordAnswer]:
    """The records of the principal's producers, and of those that have none."""
    own = principal.current().producers
    if own is None:
        return [_answer(record) for record in producers.all()]
    found = []
    for producer in sorted(own):
        record = producers.find_intact(producer)
        found.append(_answer(record) if record else _without_record(producer))
    return found


def _claimed_and_changed(front: Front, producer: str, changes: ProducerRequest) -> ProducerRecordAnswer:
    """Raises Refusal: 409, the id is not free, or the user has claimed as many as a user may."""
    if not principal.sees(producer):
        _check_count()
        if front.producers.find(producer) or _in_use(front, producer):
            raise _taken(producer)
        # Before anything is changed: another user may claim it meanwhile.
        _claim(front, producer, changes)
        # A track with a twin of a deleted producer of this id may have been counted after the deletion.
        delete_usage(front.storage, producer)
    elif changes.owner is not None and front.sign_in and "admin" in principal.current().scopes:
        front.producers.assign(producer, front.sign_in.owner(changes.owner))
    record = front.producers.change(producer, changes.twins, changes.display_name)
    if record is None:
        _claim(front, producer, changes)
        record = front.producers.change(producer, changes.twins, changes.display_name)
    if record is None:
        raise Refusal(409, f"producer_id: {producer} was deleted meanwhile; try again")
    return _answer(record)


def _check_count() -> None:
    """Raise Refusal (409) if the user has claimed as many ids as a user may."""
    own = principal.current().producers
    if own is not None and len(own) >= MAX_CLAIMED:
        raise Refusal(409, f"producer_id: you have {len(own)} producers, and may claim no more; delete one first")


def _claim(front: Front, producer: str, changes: ProducerRequest) -> None:
    """Make the user the owner. For an administrator or an API key it is the one that is named, or nobody.

    Raises Refusal (409).
    """
    who = principal.current()
    subject = changes.owner if "admin" in who.scopes else who.subject
    owner = front.sign_in.owner(subject) if front.sign_in and subject is not None else None
    try:
        front.producers.claim(producer, owner)
    except AlreadyExists:
        raise _taken(producer) from None


def _taken(producer: str) -> Refusal:
    return Refusal(409, f"producer_id: {producer} is taken; choose another id")


def _in_use(front: Front, producer: str) -> bool:
    """Whether the id is that of a producer from before there was sign-in, or of an API key."""
    if any(front.storage.holds(folder) for folder in keys.producer_folders(producer).values()):
        return True
    if any(producer in (key.producers or ()) for key in read_keys(front.storage)):
        return True
    if any(True for _ in front.library.all(producer)) or any(True for _ in front.library.names.of_producer(producer)):
        return True
    return any(True for _ in front.jobs.all(producer))


def _answer(record: ProducerRecord) -> ProducerRecordAnswer:
    return ProducerRecordAnswer(
        producer_id=record.producer_id,
        owner=record.owner,
        display_name=record.display_name,
        twins=record.twins,
        created_at=record.created_at,
    )


def _without_record(producer: str) -> ProducerRecordAnswer:
    return ProducerRecordAnswer(producer_id=producer, owner=None, display_name=None, twins={}, created_at=None)


def _stored(producer: str, storage: Storage, settings: Settings) -> ProducerAnswer:
    """The producer's bytes by kind, and the limit."""
    by: Counter[str] = Counter()
    objects = 0
    for kind, entry in objects_of_producer(storage, producer):
        by[kind] += entry.size
        objects += 1
    return ProducerAnswer(
        producer_id=producer, bytes=by.total(), limit=settings.producer_max_bytes, objects=objects, by=dict(by)
    )


def _delete_all(producer: str, front: Front) -> ProducerDeletedAnswer:
    """Remove all that is stored for a producer, damaged or not: uploads, datasets, twins, tracks, jobs.

    A job whose record is damaged counts as the producer's if its dataset is.

    Raises:
        Refusal: 404 if there is nothing, 409 while a job of theirs is under way.
    """
    storage, jobs, library = front.storage, front.jobs, front.library
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

    # Storage is listed after the outbox, so that an object that is sent in between is found there.
    gone += [key for key in front.outbox.waiting_keys() if is_of_producer(key, producer) and front.outbox.delete(key)]
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
    for entry in storage.list(keys.track_records()):
        if is_of_producer(entry.key, producer):
            remove(entry.key, entry.size)
    RecordIndex(storage, keys.TRACK_RECORDS, keys.TRACK_INDEX).sweep()
    for entry in submissions_of(storage, producer):
        remove(entry.key, entry.size)
    for job_id, tasks in jobs_of.items():
        storage.delete(keys.open_job(job_id))  # the process that ended the job may not have removed it yet
        for entry in objects_of_job(storage, job_id):
            remove(entry.key, entry.size)
        for key in records_of(job_id, tasks):
            remove(key)
    for owner in library.names.of_producer(producer):
        remove(owner)
    # Until here the id is not free, so that nobody who claims it gets objects of the one before.
    gone += delete_usage(storage, producer)
    gone += Producers(storage).delete(producer)
    if not gone:
        raise Refusal(404, f"producer_id: nothing is stored for {producer}")
    for lease in (keys.training_lease(producer), keys.lora_lease(producer)):
        storage.delete(lease)
    return ProducerDeletedAnswer(producer_id=producer, deleted=[keys.to_path(key) for key in gone], bytes=size)


_RECORD_EXAMPLE = {
    "producer_id": "ada",
    "owner": "2f0d6c1e-6a35-4f0a-9a51-0f4f7f9f3a57",
    "display_name": "Ada",
    "twins": {"night": {"visibility": "link", "link": "Jt4bq9m0v7Yw1zXk3c8R5u2s6a_HdGfE"}},
    "created_at": "2026-11-24T19:00:00Z",
}
ROUTES = (
    Route(
        "GET",
        "/producers",
        "producers",
        "List the producers that are the caller's, with their owner and who may generate with their twins",
        TRAIN,
        list_all,
        answer=(ProducersAnswer,),
        answer_example={"producers": [_RECORD_EXAMPLE]},
        sign_in=True,
        web_app=True,
    ),
    Route(
        "PUT",
        "/producers/{producer_id}",
        "producers",
        "Claim a producer's id that is free; set its display name, and who may generate with its twins",
        TRAIN,
        put,
        takes="any",
        body=ProducerRequest,
        body_example={"display_name": "Ada", "twins": {"night": "link"}},
        body_required=False,
        answer=(ProducerRecordAnswer,),
        answer_example=_RECORD_EXAMPLE,
        errors=(409, 507),
        writes=True,
        sign_in=True,
        web_app=True,
    ),
    Route(
        "GET",
        "/producers/{producer_id}/usage",
        "producers",
        "How often the producer's twins were used, by month",
        TRAIN,
        usage,
        answer=(UsageAnswer,),
        answer_example={
            "producer_id": "ada",
            "usage": [{"month": "2026-11", "lora_id": TWIN, "tracks": 12, "seconds": 540.0}],
        },
        sign_in=True,
        web_app=True,
    ),
    Route(
        "GET",
        "/producers/{producer_id}",
        "producers",
        "The storage that a producer uses, and the limit",
        TRAIN,
        stored,
        answer=(ProducerAnswer,),
        answer_example={
            "producer_id": "ada",
            "bytes": 31_752_044,
            "limit": None,
            "objects": 1,
            "by": {"uploads": 31_752_044},
        },
        web_app=True,
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
