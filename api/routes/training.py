"""Training a twin: BentoML's task routes (service.py), which api.middleware.task_submission completes."""

from __future__ import annotations

from api.routes.examples import TRAIN_REQUEST, TRAINED
from api.routes.route import TRAIN, Parameter, Route
from contract import SubmittedAnswer, TaskAnswer, TrainAnswer, TrainRequest

_TASK = Parameter("task_id", "The id that /train/submit answered.", required=True)

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
        "Train a twin; answers when it is ready",
        TRAIN,
        body=TrainRequest,
        body_example=TRAIN_REQUEST,
        answer=(TrainAnswer,),
        answer_example=TRAINED,
        errors=(404, 409, 507),
        writes=True,
        cancelled_on_disconnect=True,  # only the waiting ends: the training goes on
        stream=True,
    ),
    SUBMIT,
    STATUS,
    RESULT,
)
