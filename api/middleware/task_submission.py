"""Completes BentoML's task routes: submitting validates the body and names the job; a task is its producer's alone."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.capacity.parsing import Parser
from api.capacity.thread_pools import to_record_thread
from api.routes import training
from api.routes.inputs import json_body
from api.routes.table import route_of
from contract import TrainRequest
from core import principal
from core.asgi.responses import error_response
from core.errors import Refusal
from core.logs import note
from preprocessing.decode import probe
from preprocessing.isolation import CHECK, DECODING
from runners import TABLE
from training.estimate import estimated_steps
from training.jobs.admission import Admission
from training.jobs.record import JobRecord
from training.pace import Paces

log = logging.getLogger("producer_twin.front")

# Only a file's header is read, which takes milliseconds.
_HEADERS = Parser(DECODING, CHECK, at_once=2, each=1)


class TaskSubmission:
    """ASGI middleware. It admits the job; the task that BentoML then makes finds the job by `job_id`."""

    def __init__(self, app: ASGIApp, admission: Callable[[], Admission], paces: Callable[[], Paces]) -> None:
        self.app = app
        self.admission = admission
        self.paces = paces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = route_of(scope) if scope["type"] == "http" else None
        if route in (training.STATUS, training.RESULT):
            scope = dict(scope, query_string=_in_snake_case(scope["query_string"]))
            if not await to_record_thread(self._may_see, scope["query_string"]):
                await error_response(404, "task_id: there is no such task")(scope, receive, send)
                return
        if route is not training.SUBMIT:
            await self.app(scope, receive, send)
            return
        try:
            request = await json_body(Request(scope, receive), TrainRequest)
            record = await to_record_thread(self.admission().admit, request)
        except Refusal as refusal:
            await error_response(refusal.status, refusal.message)(scope, receive, send)
            return
        named = record.request.model_dump_json(by_alias=False, exclude_none=True).encode()
        headers = [pair for pair in scope["headers"] if pair[0] not in (b"content-length", b"transfer-encoding")]
        scope = dict(scope, headers=[*headers, (b"content-length", str(len(named)).encode())])
        estimate = await self._estimate(record)
        await self.app(scope, _replay(named, receive), self._naming(record.job_id, estimate, send))

    async def _estimate(self, record: JobRecord) -> dict[str, Any]:
        """The steps and seconds that the job will take, as far as they are known. No failure here refuses the job."""
        steps = record.request.max_steps or record.total_steps
        try:
            if record.task_id is None:  # else the request was sent before, and its files are not read again
                storage, backend = self.admission().storage, TABLE[record.backend]
                steps = await estimated_steps(record.request, backend, storage, _length)
        except Refusal as refusal:
            log.warning("job %s: its steps are not estimated: %s", record.job_id, refusal.message)
        except Exception:
            log.exception("job %s: its steps are not estimated", record.job_id)
        pace = (await self.paces().current()).get(record.backend)
        seconds = None if steps is None or pace is None else round(pace.seconds(steps), 1)
        return {"total_steps": steps, "estimated_seconds": seconds}

    def _may_see(self, query: bytes) -> bool:
        """Whether the principal may see the producer of the task's job."""
        if principal.current().producers is None:
            return True
        try:
            return principal.sees(self.admission().jobs.by_task(_task_of(query)).producer_id)
        except Refusal:
            return False

    def _naming(self, job_id: str, estimate: Mapping[str, Any], send: Send) -> Send:
        """Add the job's id and the estimate to the answer, and the task's id to the job."""
        start: Message | None = None

        async def name(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            assert start is not None
            if start["status"] >= 400:
                await send(start)
                await send(message)
                return
            answer = json.loads(message["body"])
            if "task_id" in answer:
                await to_record_thread(self.admission().jobs.name_task, job_id, answer["task_id"])
                answer |= {"job_id": job_id, **estimate}
                note(job_id=job_id)
            body = json.dumps(answer).encode()
            headers = [pair for pair in start["headers"] if pair[0] != b"content-length"]
            await send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
            await send({**message, "body": body})

        return name


async def _length(file: Path) -> float:
    """The seconds of music in a file. Raises BadAudio or Exceeded."""
    return (await _HEADERS.run(probe, file)).seconds


def _in_snake_case(query: bytes) -> bytes:
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return urlencode([("task_id" if name == "taskId" else name, value) for name, value in pairs]).encode()


def _task_of(query: bytes) -> str:
    return dict(parse_qsl(query.decode())).get("task_id", "")


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
