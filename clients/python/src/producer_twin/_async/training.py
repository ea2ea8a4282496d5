"""Starts trainings. `jobs` follows them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Unpack

from producer_twin._async.resource import AsyncResource
from producer_twin._async.transport import NO_READ_TIMEOUT
from producer_twin._idempotency import idempotent
from producer_twin.models import SubmittedAnswer, TaskAnswer, TrainAnswer
from producer_twin.requests import TrainOptions


class AsyncTraining(AsyncResource):
    """Trainings. A `job_id` is chosen unless one is given, so that a request that is sent again starts one job."""

    async def submit(
        self, producer_id: str, upload_paths: Sequence[str] | None = None, **options: Unpack[TrainOptions]
    ) -> SubmittedAnswer:
        """Start a training; answers at once.

        Args:
            upload_paths: the paths that uploads answered; None with `upload_urls` or `dataset_job_id`.
            options: the other fields of `POST /train`.
        """
        body = _body(producer_id, upload_paths, options)
        answer = await self._transport.send("POST", "/train/submit", json=body, headers=idempotent())
        return SubmittedAnswer.model_validate_json(answer.content)

    async def train(
        self, producer_id: str, upload_paths: Sequence[str] | None = None, **options: Unpack[TrainOptions]
    ) -> TrainAnswer:
        """Train a twin; answers when it is ready. The arguments are those of `submit`."""
        body = _body(producer_id, upload_paths, options)
        answer = await self._transport.send("POST", "/train", json=body, headers=idempotent(), timeout=NO_READ_TIMEOUT)
        return TrainAnswer.model_validate_json(answer.content)

    async def status(self, task_id: str) -> TaskAnswer:
        """The status of a task; `jobs.get` has more, and outlives the server."""
        answer = await self._transport.send("GET", "/train/status", params={"task_id": task_id})
        return TaskAnswer.model_validate_json(answer.content)

    async def result(self, task_id: str) -> TrainAnswer:
        """The result of a task, as `train` answers it."""
        answer = await self._transport.send("GET", "/train/get", params={"task_id": task_id})
        return TrainAnswer.model_validate_json(answer.content)


def _body(producer_id: str, upload_paths: Sequence[str] | None, options: TrainOptions) -> dict[str, object]:
    paths = None if upload_paths is None else list(upload_paths)
    return {"producer_id": producer_id, "upload_paths": paths, "job_id": str(uuid.uuid4()), **options}
