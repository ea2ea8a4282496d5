"""How many jobs a key may have at once, whoever asks together, on whatever storage."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contract import TrainRequest
from core import principal
from core.errors import Refusal
from core.principal import Principal
from storage import Storage, keys, open_storage
from tests.s3_server import S3Server, s3_server
from training.jobs import slots
from training.jobs.slots import JobSlots
from training.jobs.store import Jobs

__all__ = ["s3_server"]

REQUEST = TrainRequest(producer_id="ada", upload_paths=["/data/uploads/ada/j/a.wav"])


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return open_storage((tmp_path / "shared").as_uri())
    server: S3Server = request.getfixturevalue("s3_server")
    return open_storage(server.url(tmp_path.name), server.endpoint)


def limited(most: int, *producers: str) -> Principal:
    return Principal("key", producers=frozenset(producers), jobs_at_once=most)


def admit(store: Storage, job_id: str, who: Principal, producer: str = "ada") -> bool:
    """Whether a replica of its own admits the job."""
    jobs = Jobs(store)
    with principal.acting(who):
        try:
            with JobSlots(store, jobs).taken(job_id, producer):
                jobs.create(REQUEST.model_copy(update={"job_id": job_id, "producer_id": producer}), "ace_step")
        except Refusal as refusal:
            assert refusal.status == 429
            return False
    return True


def end(store: Storage, job_id: str) -> None:
    Jobs(store).cancel(job_id)


def test_a_slot_for_each_job_and_no_more(store: Storage) -> None:
    who = limited(2, "ada", "bob")
    assert admit(store, "one", who) and admit(store, "two", who, "bob")
    assert not admit(store, "three", who)
    assert admit(store, "other", limited(1, "eve"), "eve")  # whose jobs are not counted here
    assert admit(store, "unlimited", principal.ITSELF)
    end(store, "two")
    assert not admit(store, "three", who)  # the service itself has made one for ada
    end(store, "unlimited")
    assert admit(store, "three", who)


@pytest.mark.parametrize("most", [1, 3])
def test_replicas_at_once(store: Storage, most: int) -> None:
    start = threading.Barrier(8)

    def come(number: int) -> bool:
        start.wait()
        return admit(store, f"job-{number}", limited(most, "ada"))

    with ThreadPoolExecutor(8) as pool:
        admitted = list(pool.map(lambda number: copy_context().run(come, number), range(8)))
    assert sum(admitted) == most
    assert len(Jobs(store).open()) == most


def test_the_same_job_from_several_replicas_takes_one_slot(store: Storage) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: admit(store, "same", limited(1, "ada")), range(4)))
    assert not admit(store, "next", limited(1, "ada"))


def test_no_slot_is_lost(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    who = limited(1, "ada")
    kept = JobSlots(store, Jobs(store))
    with principal.acting(who):
        with pytest.raises(RuntimeError), kept.taken("fails", "ada"):
            raise RuntimeError
        assert admit(store, "one", who)
        end(store, "one")
        kept._take("dies", slots.Slot(producer_id="ada", attempt=0, taken_at=datetime.now(UTC)), 1)
    assert not admit(store, "two", who)
    monkeypatch.setattr(slots, "EXPIRY", timedelta())
    assert admit(store, "two", who)
    end(store, "two")
    store.put(keys.job_slots(), b"")  # damaged
    assert admit(store, "three", who) and not admit(store, "four", who)


def test_a_job_that_goes_on_takes_a_slot(store: Storage) -> None:
    who, jobs = limited(1, "ada"), Jobs(store)
    assert admit(store, "one", who)
    end(store, "one")
    with principal.acting(who), JobSlots(store, jobs).taken("one", "ada", 1):
        assert not admit(store, "two", who)  # before the record says so
        jobs.reopen("one")
    assert not admit(store, "two", who)
    end(store, "one")
    assert admit(store, "two", who)
