"""How many jobs an API key may have at once, which holds however many requests come together, on all replicas.

Open jobs are counted, and beside them those that were just admitted, which stand in one object until they are open: it
is written only if nobody wrote it since it was read, so that of two requests for the last slot one counts the other.
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

# A slot of a process that died before its job was there is free again after so long.
EXPIRY = timedelta(minutes=2)


class Slot(BaseModel):
    """An admitted job that need not be open yet. `attempt` is the one that will be."""

    producer_id: str
    attempt: int
    taken_at: AwareDatetime


_Slots = dict[str, Slot]
_ADAPTER = TypeAdapter(_Slots)


class JobSlots:
    def __init__(self, storage: Storage, jobs: Jobs) -> None:
        self.storage = storage
        self.jobs = jobs

    @contextmanager
    def taken(self, job_id: str, producer: str, attempt: int = 0) -> Iterator[None]:
        """Have a slot for a job that the block opens; it is given back if the block fails.

        Raises:
            Refusal: 429, as many jobs are under way as who asks may have.
        """
        most = principal.current().jobs_at_once
        if most is None:
            yield
            return
        self._take(job_id, Slot(producer_id=producer, attempt=attempt, taken_at=datetime.now(UTC)), most)
        try:
            yield
        except BaseException:
            self._give_back(job_id)
            raise

    def _take(self, job_id: str, slot: Slot, most: int) -> None:
        while True:
            # Read before the open jobs: what leaves it in between is open by then, and so counted there.
            admitted, etag = self._read()
            under_way = {record.job_id: record.producer_id for record in self.jobs.open()}
            kept = {
                some_id: one
                for some_id, one in admitted.items()
                if some_id not in under_way and self._holds(some_id, one)
            }
            under_way |= {some_id: one.producer_id for some_id, one in kept.items()}
            if job_id not in under_way and sum(map(principal.sees, under_way.values())) >= most:
                raise Refusal(429, f"{most} jobs of this API key are under way; wait for one to end, or cancel one")
            if self._write(kept | {job_id: slot}, etag):
                return

    def _give_back(self, job_id: str) -> None:
        try:
            while True:
                admitted, etag = self._read()
                if admitted.pop(job_id, None) is None or self._write(admitted, etag):
                    return
        except Unavailable as error:
            log.warning("the slot of job %s is free in %s: %s", job_id, EXPIRY, error)

    def _holds(self, job_id: str, slot: Slot) -> bool:
        """Whether the job is under way, or will be."""
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
        """Also the etag; None where there is no such object. A damaged one is written anew."""
        key = keys.job_slots()
        try:
            return records.read(self.storage, key, lambda data, _: _ADAPTER.validate_json(data))
        except NotFound:
            return {}, None
        except Damaged:
            return {}, records.etag_of(self.storage, key)

    def _write(self, slots: _Slots, etag: str | None) -> bool:
        """False if somebody else wrote meanwhile."""
        data = _ADAPTER.dump_json(slots)
        try:
            if etag is None:
                self.storage.put(keys.job_slots(), data, if_absent=True)
            else:
                self.storage.put(keys.job_slots(), data, if_match=etag)
        except (AlreadyExists, Changed):
            return False
        return True
