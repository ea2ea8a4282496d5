"""The models that are served."""

from __future__ import annotations

from api.routes.handler import Front, Inputs
from api.routes.route import ANY_SCOPE, Route
from contract import BackendsAnswer


async def list_all(front: Front, inputs: Inputs[None]) -> BackendsAnswer:
    return BackendsAnswer(backends=await front.runners.describe())


ROUTES = (
    Route(
        "GET",
        "/backends",
        "artists",
        "List the models, and whether each can serve",
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
                    "default": True,
                    "under_way": 2,
                }
            ]
        },
        web_app=True,
    ),
)
