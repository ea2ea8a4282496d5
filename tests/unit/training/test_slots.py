"""The limit of open jobs per API key, for concurrent requests on a folder and on S3."""

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
    """Whether another replica admits the job."""
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


@pytest.mark.slow
def test_a_key_has_as_many_open_jobs_as_its_limit(store: Storage) -> None:
    who = limited(2, "ada", "bob")
    assert admit(store, "one", who) and admit(store, "two", who, "bob")
    assert not admit(store, "three", who)
    assert admit(store, "other", limited(1, "eve"), "eve")  # a producer of another key
    assert admit(store, "unlimited", principal.ITSELF)
    end(store, "two")
    assert not admit(store, "three", who)  # the unlimited job is ada's too
    end(store, "unlimited")
    assert admit(store, "three", who)


@pytest.mark.slow
@pytest.mark.parametrize("most", [1, 3])
def test_concurrent_replicas_admit_no_more_than_the_limit(store: Storage, most: int) -> None:
    start = threading.Barrier(8)

    def admit_one(number: int) -> bool:
        start.wait()
        return admit(store, f"job-{number}", limited(most, "ada"))

    with ThreadPoolExecutor(8) as pool:
        admitted = list(pool.map(lambda number: copy_context().run(admit_one, number), range(8)))
    assert sum(admitted) == most
    assert len(Jobs(store).open()) == most


def test_the_same_job_from_several_replicas_takes_one_slot(store: Storage) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: admit(store, "same", limited(1, "ada")), range(4)))
    assert not admit(store, "next", limited(1, "ada"))


def test_a_slot_is_released_or_expires(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_resumed_job_takes_a_slot(store: Storage) -> None:
    who, jobs = limited(1, "ada"), Jobs(store)
    assert admit(store, "one", who)
    end(store, "one")
    with principal.acting(who), JobSlots(store, jobs).taken("one", "ada", 1):
        assert not admit(store, "two", who)  # although the record is not open yet
        jobs.reopen("one")
    assert not admit(store, "two", who)
    end(store, "one")
    assert admit(store, "two", who)
