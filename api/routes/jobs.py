"""Training jobs: list, inspect, cancel, resume, delete, follow, and fetch their reports and previews."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast

from starlette.responses import HTMLResponse, JSONResponse, Response

from api.capacity.thread_pools import to_record_thread
from api.routes import outputs
from api.routes.event_stream import POLL_SECONDS, stream_of
from api.routes.examples import JOB
from api.routes.handler import Front, Inputs
from api.routes.route import OF_PRODUCER, TRAIN, Parameter, Route
from contract import STATES, TERMINAL, JobAnswer, JobDeletedAnswer, JobsAnswer, ReportAnswer, State
from core import principal
from core.errors import Refusal
from core.plain_json import decode_object
from core.text import shown
from storage import NotFound, keys, records
from training.evaluation import page
from training.jobs.deletion import delete_job
from training.jobs.record import JobRecord
from training.jobs.store import Jobs

log = logging.getLogger("producer_twin.front")

T = TypeVar("T")

_CANCEL_SECONDS = 10.0
_PREVIEW = re.compile(r"[a-z]+_\d{1,8}\.(mp3|png)")


async def list_all(front: Front, inputs: Inputs[None]) -> JobsAnswer:
    producer, state = inputs.query.get("producer_id"), inputs.query.get("state")

    def collect() -> list[JobAnswer]:
        jobs = front.jobs.all(producer, cast("State | None", state))
        return front.jobs.answers(job for job in jobs if principal.sees(job.producer_id))

    return JobsAnswer(jobs=await to_record_thread(collect))


async def inspect(front: Front, inputs: Inputs[None]) -> JobAnswer:
    return await to_record_thread(front.jobs.answer, inputs.job)


async def cancel(front: Front, inputs: Inputs[None]) -> JobAnswer:
    """Answers once the job has ended, or with its state after `_CANCEL_SECONDS`."""
    record = await to_record_thread(front.jobs.cancel, inputs.job.job_id)
    if record.state not in TERMINAL:
        # The training process of another server reads the record every two seconds, and ends by itself.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CANCEL_SECONDS):
                await _call_training(front, "cancel", record.job_id)
                while (await to_record_thread(front.jobs.get, record.job_id)).state not in TERMINAL:
                    await asyncio.sleep(POLL_SECONDS)
    return await _answer(front.jobs, record.job_id)


async def resume(front: Front, inputs: Inputs[None]) -> JobAnswer:
    record = await to_record_thread(front.admission.resume, inputs.job.job_id)
    if record.state == "queued":
        await _call_training(front, "start", record.job_id)
    return await _answer(front.jobs, record.job_id)


async def delete(front: Front, inputs: Inputs[None]) -> JobDeletedAnswer:
    """Delete a job, whose record may be damaged if the principal sees every producer."""
    job_id = inputs.path["job_id"]
    deleted = await asyncio.to_thread(delete_job, front.jobs, job_id)
    return JobDeletedAnswer(job_id=job_id, deleted=[keys.to_path(key) for key in deleted])


async def events(front: Front, inputs: Inputs[None]) -> Response:
    """Server-sent events: the job's record, now and whenever it changes, until it has ended."""
    job = await to_record_thread(front.jobs.answer, inputs.job)
    # `updated_at` changes while nothing else does.
    return stream_of(
        job,
        lambda: _answer(front.jobs, job.job_id),
        lambda found: found.state in TERMINAL,
        inputs.headers,
        ignored=frozenset({"updated_at"}),
    )


async def report_json(front: Front, inputs: Inputs[None]) -> Response:
    return JSONResponse(await _report(front, inputs.job, lambda report: report))


async def report_page(front: Front, inputs: Inputs[None]) -> Response:
    job_id = inputs.job.job_id

    def render(report: dict[str, Any]) -> str:
        return page.render(report, lambda name: front.storage.get(keys.preview(job_id, name)))

    return HTMLResponse(await _report(front, inputs.job, render))


async def preview(front: Front, inputs: Inputs[None]) -> Response:
    name = inputs.path["name"]
    if not _PREVIEW.fullmatch(name):
        raise Refusal(404, f"there is no preview {shown(name)}; the job's record names its previews")
    key = keys.preview(inputs.job.job_id, name)
    return await outputs.serve(key, front.storage, front.outbox, front.settings)


async def _report(front: Front, job: JobRecord, make: Callable[[dict[str, Any]], T]) -> T:
    """The result of `make` for the job's report. `make` raises ValueError if the report is damaged."""

    def parse(data: bytes, key: str) -> T:
        report = decode_object(data)
        if ReportAnswer.model_validate(report).job_id != job.job_id:
            raise ValueError("it is the report of another job")
        return make(report)

    try:
        return (await to_record_thread(records.read, front.storage, keys.report(job.job_id), parse))[0]
    except NotFound:
        raise Refusal(404, f"job_id: {job.job_id} has no report yet; it is {job.state}") from None


async def _call_training(front: Front, call: Literal["start", "cancel"], job_id: str) -> None:
    """Call the training service. A cancel that does not reach it still takes effect by the job's record."""
    try:
        await getattr(front.training.to_async, call)(job_id=job_id)
    except Exception as error:
        log.warning("the training service could not be told to %s job %s: %s", call, job_id, error)
        if call == "start":
            raise Refusal(503, "the training service does not answer; try again later") from error


async def _answer(jobs: Jobs, job_id: str) -> JobAnswer:
    return await to_record_thread(lambda: jobs.answer(jobs.get(job_id)))


_IN_STATE = Parameter("state", "List jobs in this state only.", {"type": "string", "enum": list(STATES)})
ROUTES = (
    Route(
        "GET",
        "/jobs",
        "producers",
        "List the training jobs, the newest first",
        TRAIN,
        list_all,
        parameters=(OF_PRODUCER, _IN_STATE),
        answer=(JobsAnswer,),
        answer_example={"jobs": [JOB]},
        web_app=True,
    ),
    Route(
        "GET",
        "/jobs/{job_id}",
        "producers",
        "A job, by its own id or its task's; fields that are not known yet are null",
        TRAIN,
        inspect,
        answer=(JobAnswer,),
        answer_example=JOB,
        web_app=True,
    ),
    Route(
        "DELETE",
        "/jobs/{job_id}",
        "producers",
        "Delete a job that has ended, or whose record is damaged, with its dataset and report; its twin stays",
        TRAIN,
        delete,
        answer=(JobDeletedAnswer,),
        answer_example={"job_id": "takes", "deleted": ["/data/jobs/takes.json"]},
        errors=(409,),
        writes=True,
        accepts_damaged_job=True,
        web_app=True,
    ),
    Route(
        "POST",
        "/jobs/{job_id}/cancel",
        "producers",
        "Cancel a job within a step; the twin so far is kept, marked partial. Answers when the job has ended",
        TRAIN,
        cancel,
        answer=(JobAnswer,),
        answer_example=JOB | {"state": "cancelled"},
        errors=(409,),
        writes=True,
        web_app=True,
    ),
    Route(
        "POST",
        "/jobs/{job_id}/resume",
        "producers",
        "Resume a job that failed or was cancelled, from its last checkpoint",
        TRAIN,
        resume,
        answer=(JobAnswer,),
        answer_example=JOB | {"state": "queued", "queue_position": 1},
        errors=(400, 409),
        writes=True,
        web_app=True,
    ),
    Route(
        "GET",
        "/jobs/{job_id}/events",
        "producers",
        "Follow a job: its record whenever it changes, as server-sent events, until it has ended",
        TRAIN,
        events,
        files=("text/event-stream",),
        stream=True,
        web_app=True,
    ),
    Route(
        "GET",
        "/jobs/{job_id}/report.json",
        "producers",
        "The report on the twin; docs/training.md describes it",
        TRAIN,
        report_json,
        answer=(ReportAnswer,),
        answer_example={"schema": 1, "job_id": "takes", "complete": True, "verdict": None, "unmeasured": []},
        web_app=True,
    ),
    Route(
        "GET",
        "/jobs/{job_id}/report",
        "producers",
        "The report as a page, with pictures and players",
        TRAIN,
        report_page,
        files=("text/html",),
        web_app=True,
    ),
    Route(
        "GET",
        "/jobs/{job_id}/previews/{name}",
        "producers",
        "A preview as audio, or its spectrogram",
        TRAIN,
        preview,
        files=("audio/mpeg", "image/png"),
        stream=True,
        web_app=True,
    ),
)
