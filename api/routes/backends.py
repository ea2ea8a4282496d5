"""The models that are served."""

from __future__ import annotations

from api.routes.handler import Front, Inputs
from api.routes.route import ANY_SCOPE, Route
from contract import BackendsAnswer, TrainingDefaults
from runners import TABLE, Backend
from training.base import MAX_DEFAULT_STEPS, MIN_DEFAULT_STEPS
from training.pace import Pace


async def list_all(front: Front, inputs: Inputs[None]) -> BackendsAnswer:
    rows, paces = await front.runners.describe(), await front.paces.current()
    for row in rows:
        row.training = _training(TABLE[row.name], paces.get(row.name))
    return BackendsAnswer(backends=rows)


def _training(backend: Backend, pace: Pace | None) -> TrainingDefaults | None:
    if backend.training_steps_per_second is None:
        return None
    per_step, besides = (pace.seconds_per_step, pace.seconds_besides) if pace else (None, None)
    return TrainingDefaults(
        steps_per_second=backend.training_steps_per_second,
        min_steps=MIN_DEFAULT_STEPS,
        max_steps=MAX_DEFAULT_STEPS,
        seconds_per_step=None if per_step is None else round(per_step, 4),
        seconds_besides=None if besides is None else round(besides, 1),
    )


ROUTES = (
    Route(
        "GET",
        "/backends",
        "artists",
        "List the models, whether each can serve, and what a training of it takes",
        ANY_SCOPE,
        list_all,
        answer=(BackendsAnswer,),
        answer_example={
            "backends": [
                {
                    "name": "ace_step",
                    "ready": True,
                    "reason": None,
                    "loading": None,
                    "checkpoint": "starter",
                    "licence": "MIT",
                    "commercial_use": True,
                    "sample_rate": 48_000,
                    "channels": 2,
                    "max_duration_seconds": 600.0,
                    "tasks": ["text", "repaint", "extend", "cover"],
                    "takes_reference": True,
                    "streams": True,
                    "default": True,
                    "under_way": 2,
                    "training": {
                        "steps_per_second": 2.5,
                        "min_steps": 120,
                        "max_steps": 4000,
                        "seconds_per_step": 0.42,
                        "seconds_besides": 31.0,
                    },
                }
            ]
        },
        web_app=True,
    ),
)
