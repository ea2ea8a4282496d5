"""Training a twin: BentoML's task routes (service.py), which api.middleware.task_submission completes."""

from __future__ import annotations

import asyncio
import uuid

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.routes.examples import TRAIN_REQUEST, TRAINED
from api.routes.handler import Front, Inputs
from api.routes.idempotency_key import HEADER, key_digest
from api.routes.inputs import base_url
from api.routes.route import TRAIN, Parameter, Route
from contract import SubmittedAnswer, TaskAnswer, TrainAnswer, TrainRequest
from training.jobs.record import JobRecord
from training.service import admit_and_start, train_and_wait, wait

_TASK = Parameter("task_id", "The id that /train/submit answered.", required=True)


async def train(front: Front, body: TrainRequest, request: Request) -> TrainAnswer | Response:
    """Train a twin. A task, whose request was to another path, waits as long as it takes.

    Raises:
        Refusal: the request is not acceptable, or the job failed.
    """
    starter = front.training.to_async
    body = _with_job_id(body, request)
    if request.url.path != "/train":
        return await train_and_wait(front.admission, starter, body)
    return await _result(front, await admit_and_start(front.admission, starter, body), base_url(request))


def _with_job_id(body: TrainRequest, request: Request) -> TrainRequest:
    """The request with a job id that follows from its `Idempotency-Key`, if it has one and names no job.

    The training goes on when its client leaves; the same request with the same key then finds it.
    """
    given = request.headers.getlist(HEADER)
    if body.job_id or not given:
        return body
    return body.model_copy(update={"job_id": str(uuid.UUID(key_digest(given)[:32], version=4))})


async def result(front: Front, inputs: Inputs[None]) -> TrainAnswer | Response:
    return await _result(front, inputs.job, inputs.base_url)


async def _result(front: Front, job: JobRecord, base_url: str) -> TrainAnswer | Response:
    """The job's result; a redirect to a URL that waits further if the job takes longer than a client may wait."""
    try:
        async with asyncio.timeout(front.settings.train_answer_seconds) as timer:
            return await wait(front.jobs, job)
    except TimeoutError:
        if not timer.expired():
            raise
    return RedirectResponse(f"{front.settings.public_url or base_url}jobs/{job.job_id}/result", 303)


SUBMIT = Route(
    "POST",
    "/train/submit",
    "producers",
    "Train a twin; answers at once",
    TRAIN,
    body=TrainRequest,
    body_example=TRAIN_REQUEST,
    answer=(SubmittedAnswer,),
    answer_example={
        "task_id": "5f0c1e1e",
        "status": "in_progress",
        "job_id": "takes",
        "total_steps": 420,
        "estimated_seconds": 207.0,
    },
    errors=(404, 409, 507),
    writes=True,
    web_app=True,
    makes=True,
)
STATUS = Route(
    "GET",
    "/train/status",
    "producers",
    "The status of a task; /jobs/{job_id} has more, and outlives the server",
    TRAIN,
    parameters=(_TASK,),
    answer=(TaskAnswer,),
    answer_example={
        "task_id": "5f0c1e1e",
        "status": "completed",
        "created_at": "2026-11-24T19:00:00",
        "executed_at": "2026-11-24T19:04:00",
    },
    errors=(404,),
    writes=True,
)
RESULT = Route(
    "GET",
    "/train/get",
    "producers",
    "The result of a task, as /train answers it",
    TRAIN,
    parameters=(_TASK,),
    answer=(TrainAnswer,),
    answer_example=TRAINED,
    errors=(404, 409, 507),
    writes=True,
)
ROUTES = (
    Route(
        "POST",
        "/train",
        "producers",
        "Train a twin; answers when it is ready, or redirects (303) to a URL that waits further",
        TRAIN,
        body=TrainRequest,
        body_example=TRAIN_REQUEST,
        answer=(TrainAnswer,),
        answer_example=TRAINED,
        errors=(404, 409, 507),
        writes=True,
        cancelled_on_disconnect=True,  # only the waiting ends: the training goes on
        stream=True,
        makes=True,
    ),
    Route(
        "GET",
        "/jobs/{job_id}/result",
        "producers",
        "The result of a job, as /train answers it; waits for it, and redirects (303) to itself meanwhile",
        TRAIN,
        result,
        answer=(TrainAnswer,),
        answer_example=TRAINED,
        errors=(404, 409, 507),
        cancelled_on_disconnect=True,
        stream=True,
    ),
    SUBMIT,
    STATUS,
    RESULT,
)
