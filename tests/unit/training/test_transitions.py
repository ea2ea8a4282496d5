"""The transition table of jobs, as a model checked against random sequences of events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import TERMINAL, Progress, State, TrainRequest
from core.errors import Refusal
from training.jobs.record import JobRecord
from training.jobs.transitions import Event, JobEnded, apply

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
BY_WORKERS = ("update", "claim", "finish", "stop", "fail")


def _record(state: State = "queued", **fields: object) -> JobRecord:
    request = TrainRequest(producer_id="ada", upload_paths=["/data/uploads/ada/j/a.wav"])
    record = JobRecord(
        job_id="j",
        producer_id="ada",
        model_name="m",
        backend="ace_step",
        state=state,
        created_at=LONG_AGO,
        updated_at=LONG_AGO,
        request=request,
    )
    return record.model_copy(update=fields)


@pytest.mark.parametrize(
    ("record", "event", "expected"),
    [
        (_record("queued"), "claim", "preparing"),
        (_record("training"), "finish", "done"),
        (_record("training", cancelling=True), "stop", "cancelled"),
        (_record("training"), "fail", "failed"),
        (_record("training", cancelling=True), "fail", "cancelled"),
        (_record("training"), "desert", "failed"),
        (_record("training", updated_at=datetime.now(UTC) + timedelta(hours=1)), "desert", None),
        (_record("queued"), "cancel", "cancelled"),
        (_record("training"), "cancel", None),
        (_record("failed", deserted_in="training"), "update", "training"),
        (_record("failed", deserted_in="training"), "finish", "done"),
        (_record("failed"), "resume", "queued"),
        (_record("cancelled"), "cancel", None),
    ],
)
def test_an_event_leads_to_a_state(record: JobRecord, event: Event, expected: State | None) -> None:
    changes = apply(record, event, record.attempt if event in BY_WORKERS else None)
    assert changes.get("state") == expected


@pytest.mark.parametrize("event", ["stop", "fail", "desert"])
def test_a_job_that_has_ended_has_no_progress(event: Event) -> None:
    progress = Progress(stage="analysing", done=1, total=3, unit="songs")
    record = _record("preparing", progress=progress, seconds_left=5.0)
    changes = apply(record, event, 0 if event in BY_WORKERS else None)
    assert (changes["progress"], changes["seconds_left"]) == (None, None)


@pytest.mark.parametrize("event", ["update", "claim", "finish", "stop"])
@pytest.mark.parametrize("record", [_record("done"), _record("failed"), _record("cancelled"), _record(attempt=1)])
def test_a_worker_is_told_that_its_job_has_ended(record: JobRecord, event: Event) -> None:
    with pytest.raises(JobEnded):
        apply(record, event, attempt=0)


@given(st.lists(st.tuples(st.sampled_from(get_args(Event)), st.sampled_from([None, 0, 1]))))
def test_no_sequence_of_events_breaks_a_record(events: list[tuple[Event, int | None]]) -> None:
    record = _record()
    for event, attempt in events:
        before = record
        try:
            record = record.model_copy(update=apply(record, event, attempt if event in BY_WORKERS else None))
        except (JobEnded, Refusal):
            continue
        assert JobRecord.decode(record.encode(), "jobs/j.json") == record
        assert not (record.deserted_in and record.state != "failed")
        assert not (record.state == "done" and record.error)
        assert record.attempt == before.attempt + (event == "resume" and before.state in TERMINAL)
        if before.state == "done":
            assert record.state == "done"
