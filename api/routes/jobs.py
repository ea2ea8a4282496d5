"""The routes of the jobs: their records, their end, their going on, what they tell while they run, what they made."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import Any, TypeVar, cast

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from api.capacity.thread_pools import to_record_thread
from api.routes import outputs
from api.routes.inputs import Front, job_of, json_answer, producer_of, query
from contract import STATES, TERMINAL, JobAnswer, JobDeletedAnswer, ReportAnswer, State
from core import principal
from core.errors import Refusal
from core.plain_json import decode_object
from core.text import shown
from storage import NotFound, Unavailable, keys, records
from training.evaluation import page
from training.jobs.deletion import delete_job
from training.jobs.store import Jobs

log = logging.getLogger("producer_twin.front")

T = TypeVar("T")

_LOOK_SECONDS = 0.5
# A comment now and then keeps proxies from closing a stream that has nothing to tell.
_QUIET_SECONDS = 15.0
_CANCEL_SECONDS = 10.0
_PREVIEW = re.compile(r"[a-z]+_\d{1,8}\.(mp3|png)")


async def list_all(front: Front, request: Request) -> Response:
    asked = query(request, "producer_id", "state")
    producer, state = producer_of(asked), asked.get("state")
    if state is not None and state not in STATES:
        raise Refusal(400, f"state: use one of {', '.join(STATES)}")

    def collect() -> list[JobAnswer]:
        records = front.jobs.all(producer, cast("State | None", state))
        return front.jobs.answers(record for record in records if principal.sees(record.producer_id))

    return json_answer({"jobs": [job.model_dump(mode="json") for job in await to_record_thread(collect)]})


async def inspect(front: Front, request: Request) -> Response:
    return json_answer(await to_record_thread(lambda: front.jobs.answer(job_of(front, request))))


async def cancel(front: Front, request: Request) -> Response:
    """Answers once the job has ended, or as it is if that takes longer."""
    record = await to_record_thread(front.jobs.cancel, await _job(front, request))
    if record.state not in TERMINAL:
        # Where its process is not this server's, it learns of it by the record, within two seconds.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CANCEL_SECONDS):
                await _tell(front, "cancel", record.job_id)
                while (await to_record_thread(front.jobs.get, record.job_id)).state not in TERMINAL:
                    await asyncio.sleep(_LOOK_SECONDS)
    return json_answer(await _answer(front.jobs, record.job_id))


async def resume(front: Front, request: Request) -> Response:
    record = await to_record_thread(front.admission.resume, await _job(front, request))
    if record.state == "queued":
        await _tell(front, "start", record.job_id)
    return json_answer(await _answer(front.jobs, record.job_id))


async def delete(front: Front, request: Request) -> Response:
    """A job that has ended, or whose record is damaged, which only who sees every producer may delete."""
    some_id = request.path_params["id"]
    gone = await asyncio.to_thread(delete_job, front.jobs, some_id)
    return json_answer(JobDeletedAnswer(job_id=some_id, deleted=[keys.to_path(key) for key in gone]))


async def events(front: Front, request: Request) -> Response:
    """Server-sent events: the job's record, now and whenever it changes, until it has ended."""
    job = await to_record_thread(lambda: front.jobs.answer(job_of(front, request)))
    if job.state in TERMINAL and request.headers.get("last-event-id") == _event_id(job):
        # Browsers come again when a stream ends; this tells them that all was said.
        return Response(status_code=204)
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(_changes(front.jobs, job), media_type="text/event-stream", headers=headers)


async def report_json(front: Front, request: Request) -> Response:
    return json_answer(await _report(front, request, lambda job_id, report: report))


async def report_page(front: Front, request: Request) -> Response:
    def render(job_id: str, report: dict[str, Any]) -> str:
        return page.render(report, lambda name: front.storage.get(keys.preview(job_id, name)))

    return HTMLResponse(await _report(front, request, render))


async def preview(front: Front, request: Request) -> Response:
    name = request.path_params["name"]
    job_id = await _job(front, request)
    if not _PREVIEW.fullmatch(name):
        raise Refusal(404, f"there is no preview {shown(name)}; the job's record names those that there are")
    return await outputs.serve(keys.preview(job_id, name), front.storage, front.outbox, front.settings)


async def _report(front: Front, request: Request, make: Callable[[str, dict[str, Any]], T]) -> T:
    """What `make` makes of the job's report. It raises ValueError if the report is none."""
    record = await to_record_thread(job_of, front, request)

    def parse(data: bytes, key: str) -> T:
        report = decode_object(data)
        if ReportAnswer.model_validate(report).job_id != record.job_id:
            raise ValueError("it is the report of another job")
        return make(record.job_id, report)

    try:
        return (await to_record_thread(records.read, front.storage, keys.report(record.job_id), parse))[0]
    except NotFound:
        raise Refusal(404, f"job_id: {record.job_id} has no report yet; it is {record.state}") from None


async def _tell(front: Front, what: str, job_id: str) -> None:
    """Ask the training service, which may be away: the record says the same to whoever reads it."""
    try:
        await getattr(front.training.to_async, what)(job_id=job_id)
    except Exception as error:
        log.warning("the training service did not hear %s of job %s: %s", what, job_id, error)
        if what == "start":
            raise Refusal(503, "the training service does not answer; try again later") from error


async def _changes(jobs: Jobs, job: JobAnswer) -> AsyncIterator[str]:
    yield "retry: 2000\n\n" + _event(job)
    said, told = _event_id(job), time.monotonic()
    while job.state not in TERMINAL:
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            job = await _answer(jobs, job.job_id)
        except Unavailable:
            continue
        except Refusal:  # it was deleted
            return
        if _event_id(job) != said:
            yield _event(job)
            said, told = _event_id(job), time.monotonic()
        elif time.monotonic() - told > _QUIET_SECONDS:
            yield ": still here\n\n"
            told = time.monotonic()


def _event(job: JobAnswer) -> str:
    return f"id: {_event_id(job)}\ndata: {job.model_dump_json()}\n\n"


def _event_id(job: JobAnswer) -> str:
    """The same for the same news; that somebody still works on the job is none."""
    news = job.model_dump(mode="json", exclude={"updated_at"})
    return sha256(json.dumps(news).encode()).hexdigest()[:16]


async def _answer(jobs: Jobs, job_id: str) -> JobAnswer:
    return await to_record_thread(lambda: jobs.answer(jobs.get(job_id)))


async def _job(front: Front, request: Request) -> str:
    """The id of the path's job, which exists and is one that who asks may know of."""
    return (await to_record_thread(job_of, front, request)).job_id
