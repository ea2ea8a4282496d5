"""Job records in storage: how they are found, and how events change them."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contract import TrainRequest
from core.errors import Refusal
from storage import Storage, keys, open_storage
from tests.disks import filled, small_disk
from training.jobs import desertion
from training.jobs.desertion import HEARTBEAT_TIMEOUT
from training.jobs.record import JobRecord
from training.jobs.store import Jobs
from training.jobs.transitions import JobEnded


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage((tmp_path / "data").as_uri())


@pytest.fixture
def jobs(storage: Storage) -> Jobs:
    return Jobs(storage)


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stale job counts as deserted when it is first read."""
    monkeypatch.setattr(desertion, "GRACE", timedelta())


def _make_stale(storage: Storage, record: JobRecord) -> None:
    """Write the record as that of a job in training whose process has died."""
    long_ago = datetime.now(UTC) - HEARTBEAT_TIMEOUT - timedelta(1)
    stale = record.model_copy(update={"state": "training", "updated_at": long_ago})
    storage.put(keys.job_record(record.job_id), stale.encode())


def _request(**fields: object) -> TrainRequest:
    return TrainRequest.model_validate(
        {"producer_id": "ada", "upload_paths": ["/data/uploads/ada/j/beat.wav"]} | fields
    )


def test_a_job_is_found_by_its_id_and_its_tasks(jobs: Jobs) -> None:
    record = jobs.create(_request(), "ace_step")
    jobs.name_task(record.job_id, "0123abcd")
    assert jobs.get("0123abcd").job_id == jobs.get(record.job_id).job_id == record.job_id
    for absent in ("nothing", "../uploads", "", "a/b"):
        with pytest.raises(Refusal, match="there is no job"):
            jobs.get(absent)


def test_a_job_id_is_refused_for_another_request(jobs: Jobs) -> None:
    record = jobs.create(_request(job_id="j1"), "ace_step")
    again = jobs.existing(_request(job_id="j1"))
    assert again is not None and again.job_id == record.job_id
    with pytest.raises(Refusal) as caught:
        jobs.existing(_request(job_id="j1", seed=3))
    assert caught.value.status == 409


def test_a_request_of_an_earlier_version_is_the_same_when_it_is_sent_again(jobs: Jobs) -> None:
    jobs.create(_request(job_id="j1", segment_on="time"), "ace_step")
    again = jobs.existing(_request(job_id="j1"))
    assert again is not None and again.request.segment_on == "time"
    for changes in ({"segment_on": "beat"}, {"seed": 3}):
        with pytest.raises(Refusal):
            jobs.existing(_request(job_id="j1", **changes))


def test_positions_in_the_queue(jobs: Jobs) -> None:
    first, second, third = (jobs.create(_request(), "ace_step") for _ in range(3))
    assert [jobs.answer(record).queue_position for record in (first, second, third)] == [1, 2, 3]
    jobs.update(first.job_id, state="training")
    assert [jobs.answer(jobs.get(record.job_id)).queue_position for record in (first, second, third)] == [None, 1, 2]


@pytest.mark.usefixtures("no_grace")
def test_a_deserted_job_is_failed_and_stays_so(jobs: Jobs, storage: Storage) -> None:
    record = jobs.create(_request(), "ace_step")
    _make_stale(storage, record)
    assert jobs.get(record.job_id).state == "failed"
    assert "while it was training" in str(jobs.get(record.job_id).error)
    with pytest.raises(JobEnded):
        jobs.update(record.job_id, step=4)


def test_no_read_waits_until_a_stale_job_is_known_to_be_deserted(
    jobs: Jobs, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slept(seconds: float) -> None:
        raise AssertionError

    record = jobs.create(_request(), "ace_step")
    _make_stale(storage, record)
    now = time.monotonic()
    monkeypatch.setattr(time, "sleep", slept)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    reads = (lambda: jobs.get(record.job_id), lambda: jobs.open()[0], lambda: next(jobs.all()))
    assert [read().state for read in reads] == ["training"] * 3
    now += desertion.GRACE.total_seconds() - 1
    assert [read().state for read in reads] == ["training"] * 3
    # A sign of life starts the grace period anew.
    _make_stale(storage, record.model_copy(update={"step": 5}))
    assert jobs.get(record.job_id).state == "training"
    now += 2
    assert jobs.get(record.job_id).state == "training"
    now += desertion.GRACE.total_seconds()
    assert jobs.get(record.job_id).state == "failed"


def test_an_action_on_a_stale_job_waits_until_it_is_known_to_be_deserted(
    jobs: Jobs, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = jobs.create(_request(), "ace_step")
    _make_stale(storage, record)
    now = time.monotonic()

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert (jobs.reopen(record.job_id).state, jobs.get(record.job_id).attempt) == ("queued", 1)


@pytest.mark.usefixtures("no_grace")
def test_a_job_is_not_presumed_deserted_if_storage_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2**20) as disk:
        storage = open_storage(disk.as_uri())
        jobs = Jobs(storage)
        record = jobs.create(_request(), "ace_step")
        _make_stale(storage, record)
        with filled(disk):
            assert [job.state for job in (jobs.get(record.job_id), *jobs.open())] == ["training"] * 2
        assert jobs.get(record.job_id).state == "failed"


@pytest.mark.usefixtures("no_grace")
def test_a_process_that_was_only_held_up_takes_its_job_back(jobs: Jobs, storage: Storage) -> None:
    record = jobs.create(_request(), "ace_step")
    _make_stale(storage, record)
    assert jobs.get(record.job_id).state == "failed" and not jobs.open()
    assert jobs.update(record.job_id, attempt=0, step=4).state == "training"
    assert [job.error for job in jobs.open()] == [None]
    # After a resume the earlier attempt can change nothing.
    jobs.fail(record.job_id, "the disk is full")
    assert jobs.reopen(record.job_id).state == "queued"
    with pytest.raises(JobEnded):
        jobs.update(record.job_id, attempt=0, step=5)
    jobs.fail(record.job_id, "an error of the earlier attempt", attempt=0)
    assert jobs.get(record.job_id).state == "queued"


def test_cancelling_and_resuming_follow_the_state(jobs: Jobs) -> None:
    waiting, working = (jobs.create(_request(), "ace_step") for _ in range(2))
    assert jobs.cancel(waiting.job_id).state == "cancelled" == jobs.cancel(waiting.job_id).state
    jobs.claim(working.job_id, 0)
    assert jobs.cancel(working.job_id).state == "preparing"
    with pytest.raises(Refusal, match="being cancelled"):
        jobs.reopen(working.job_id)
    jobs.fail(working.job_id, "its process was killed")
    assert jobs.get(working.job_id).state == "cancelled" and not jobs.open()
    again = jobs.reopen(working.job_id)
    assert (again.state, again.attempt, again.error, again.cancelling) == ("queued", 1, None, False)
    assert [job.job_id for job in jobs.open()] == [working.job_id]
    jobs.claim(working.job_id, 1)
    jobs.finish(jobs.get(working.job_id))
    for refused in (jobs.cancel, jobs.reopen):
        with pytest.raises(Refusal) as caught:
            refused(working.job_id)
        assert caught.value.status == 409


def test_open_jobs_are_found_by_their_marks(jobs: Jobs, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = [jobs.create(_request(), "ace_step") for _ in range(5)]
    for record in ended:
        jobs.fail(record.job_id, "no")
    live = jobs.create(_request(), "ace_step")
    storage.put(keys.open_job("nothing"), b"")
    read: list[str] = []
    get = storage.get_with_etag

    def noted(key: str, max_bytes: int | None = None) -> tuple[bytes, str]:
        read.append(key)
        return get(key, max_bytes)

    monkeypatch.setattr(storage, "get_with_etag", noted)
    assert jobs.answer(live).queue_position == 1
    assert {key for key in read if key.startswith("jobs/")} == {
        keys.job_record(name) for name in (live.job_id, "nothing")
    }
    # A second listing reads nothing that has not changed.
    assert len(list(jobs.all())) == 6
    read.clear()
    assert len(list(jobs.all())) == 6 and len(read) == 0


def test_concurrent_writers_of_a_record_lose_nothing(jobs: Jobs) -> None:
    record = jobs.create(_request(), "ace_step")

    async def write() -> None:
        steps = (asyncio.to_thread(jobs.update, record.job_id, step=number) for number in range(10))
        await asyncio.gather(asyncio.to_thread(jobs.update, record.job_id, loss=0.5), *steps)

    asyncio.run(write())
    assert jobs.get(record.job_id).loss == 0.5
