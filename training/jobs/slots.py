"""The limit of open jobs per API key. It holds for concurrent requests on all replicas.

The open jobs are counted, and the admitted jobs that are not open yet. These are in one object, which is written only
if it has not changed since it was read: of two requests for the last slot, the second to write counts the first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, BaseModel, TypeAdapter

from contract import TERMINAL
from core import principal
from core.errors import Refusal
from storage import AlreadyExists, Changed, Damaged, NotFound, Storage, Unavailable, keys, records
from training.jobs.store import Jobs

log = logging.getLogger("producer_twin.training")

# After this time the slot of a process that died before it created its job is free again.
EXPIRY = timedelta(minutes=2)


class Slot(BaseModel):
    """The slot of an admitted job that may not be open yet.

    Attributes:
        attempt: the attempt that will be open.
    """

    producer_id: str
    attempt: int
    taken_at: AwareDatetime


_Slots = dict[str, Slot]
_ADAPTER = TypeAdapter(_Slots)


class JobSlots:
    """Limits the open jobs of the current principal to its `jobs_at_once`."""

    def __init__(self, storage: Storage, jobs: Jobs) -> None:
        self.storage = storage
        self.jobs = jobs

    @contextmanager
    def taken(self, job_id: str, producer: str, attempt: int = 0) -> Iterator[None]:
        """Hold a slot for a job that the block opens. It is released if the block fails.

        Raises:
            Refusal: 429, the caller has as many open jobs as its API key allows.
        """
        most = principal.current().jobs_at_once
        if most is None:
            yield
            return
        self._take(job_id, Slot(producer_id=producer, attempt=attempt, taken_at=datetime.now(UTC)), most)
        try:
            yield
        except BaseException:
            self._release(job_id)
            raise

    def _take(self, job_id: str, slot: Slot, most: int) -> None:
        while True:
            # Read before the open jobs are: a job that leaves this object in between is counted among the open ones.
            admitted, etag = self._read()
            under_way = {record.job_id: record.producer_id for record in self.jobs.open()}
            reserved = {
                some_id: one
                for some_id, one in admitted.items()
                if some_id not in under_way and self._is_valid(some_id, one)
            }
            under_way |= {some_id: one.producer_id for some_id, one in reserved.items()}
            if job_id not in under_way and sum(map(principal.sees, under_way.values())) >= most:
                raise Refusal(429, f"{most} jobs of this API key are under way; wait for one to end, or cancel one")
            if self._write(reserved | {job_id: slot}, etag):
                return

    def _release(self, job_id: str) -> None:
        try:
            while True:
                admitted, etag = self._read()
                if admitted.pop(job_id, None) is None or self._write(admitted, etag):
                    return
        except Unavailable as error:
            log.warning("the slot of job %s was not released and expires in %s: %s", job_id, EXPIRY, error)

    def _is_valid(self, job_id: str, slot: Slot) -> bool:
        """Whether the slot's job is open, or may still become so."""
        try:
            record = self.jobs.get(job_id)
        except Refusal as refusal:
            if refusal.status != 404:
                return False
        else:
            if record.attempt >= slot.attempt:
                return record.state not in TERMINAL
        return datetime.now(UTC) - slot.taken_at < EXPIRY

    def _read(self) -> tuple[_Slots, str | None]:
        """The slots and their object's etag, None if there is none. A damaged object counts as empty."""
        key = keys.job_slots()
        try:
            return records.read(self.storage, key, lambda data, _: _ADAPTER.validate_json(data))
        except NotFound:
            return {}, None
        except Damaged:
            return {}, records.etag_of(self.storage, key)

    def _write(self, slots: _Slots, etag: str | None) -> bool:
        """Returns False if the object has changed since it was read."""
        data = _ADAPTER.dump_json(slots)
        try:
            if etag is None:
                self.storage.put(keys.job_slots(), data, if_absent=True)
            else:
                self.storage.put(keys.job_slots(), data, if_match=etag)
        except (AlreadyExists, Changed):
            return False
        return True
