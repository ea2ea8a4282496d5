"""The webhook of a job is stored whenever the job ends, whatever process is killed meanwhile."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from contract import TrainRequest
from core import principal
from core.principal import Principal
from storage import Storage, keys, work_keys
from storage.webhooks import Deliveries, Delivery
from training.jobs.record import JobRecord
from training.jobs.store import Jobs

KEY = Principal("key a")
URL = "https://studio.example/hook"


@pytest.fixture
def job(store: Storage) -> JobRecord:
    request = TrainRequest(producer_id="ada", upload_paths=["/data/uploads/ada/j/a.wav"], job_id="j", webhook_url=URL)
    with principal.acting(KEY):
        return Jobs(store).create(request, "ace_step")


def deliveries(store: Storage) -> list[Delivery]:
    return list(Deliveries(store).of_account(KEY.account))


def test_each_end_is_told_once_to_the_account_that_sent_the_request(store: Storage, job: JobRecord) -> None:
    jobs = Jobs(store)
    jobs.fail("j", "for a test")
    jobs.reopen("j")
    jobs.cancel("j")
    jobs.reopen("j")
    jobs.claim("j", 2)
    jobs.finish(jobs.get("j"))
    jobs.name_task("j", "a-task")
    found = deliveries(store)
    assert [each.type for each in found] == ["job.done", "job.cancelled", "job.failed"]
    assert len({each.id for each in found}) == 3 and {each.url for each in found} == {URL}
    failed = json.loads(found[-1].body)
    assert failed["data"]["state"] == "failed" and failed["data"]["error"] == "for a test"
    assert failed["data"].keys() == job.answer().model_dump().keys()


def test_a_process_that_is_killed_as_a_job_ends_loses_no_webhook(store: Storage, job: JobRecord) -> None:
    ended = job.model_copy(update={"state": "failed", "error": "x", "updated_at": datetime.now(UTC)})
    store.put(keys.job_record("j"), ended.encode())  # and the process is killed before the mark is removed
    for _ in range(2):
        store.put(keys.open_job("j"), b"")
        assert Jobs(store).unattended() == []  # as the training service looks for jobs
        assert [each.type for each in deliveries(store)] == ["job.failed"]
        assert len(list(store.list(work_keys.due_webhooks()))) == 1
        assert not list(store.list("open_jobs/"))


def test_a_job_without_a_url_has_no_webhook(store: Storage) -> None:
    jobs = Jobs(store)
    jobs.create(TrainRequest(producer_id="ada", upload_paths=["/data/uploads/ada/j/a.wav"], job_id="k"), "ace_step")
    jobs.fail("k", "for a test")
    assert not list(store.list(work_keys.due_webhooks())) and not list(store.list(work_keys.webhook_deliveries()))
