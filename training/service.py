"""Training as a BentoML service: a task for whoever serves it by itself, and `start` for the front."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Protocol

import bentoml

from contract import TERMINAL, TrainAnswer, TrainRequest
from core import logs, traces
from core.asgi.graceful_shutdown import GracefulShutdown
from core.configuration import service_config
from core.errors import Refusal
from core.settings import settings
from storage import Unavailable, open_storage
from storage.retrying import RetryingStorage
from training.jobs.admission import Admission
from training.jobs.launch import launch
from training.jobs.store import JobRecord, Jobs
from training.jobs.supervisor import Supervisor

log = logging.getLogger("producer_twin.training")

_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 60.0


class Starter(Protocol):
    async def start(self, job_id: str) -> None: ...


@bentoml.service(**service_config("Training"))
class Training:
    def __init__(self) -> None:
        config = settings()
        logs.configure(config)
        traces.configure(config)
        storage = open_storage(config.storage_url, config.s3_endpoint_url)
        self.admission = Admission(storage, config)
        # A job is not given up because storage is away in the moment when it begins or ends.
        jobs = Jobs(RetryingStorage(storage, _PATIENCE_SECONDS))
        self.supervisor = Supervisor(jobs, config.train_jobs_at_once, launch(config))

    @bentoml.on_startup
    async def take_up(self) -> None:
        self._taking_up = asyncio.create_task(self.supervisor.take_up())

    @bentoml.on_shutdown
    async def stop(self) -> None:
        self._taking_up.cancel()
        await self.supervisor.stop()

    @bentoml.api
    async def start(self, job_id: str) -> None:
        """Work on a job that is in the queue; answers at once."""
        log.info("job %s was handed over", job_id)
        self.supervisor.start(job_id)

    @bentoml.api
    async def cancel(self, job_id: str) -> None:
        """Tell the process of a job whose record asks for its end; waits until it has ended."""
        await self.supervisor.cancel(job_id)

    @bentoml.task
    async def train(self, body: TrainRequest, /) -> TrainAnswer:
        """The whole of it, for whoever serves this service alone."""
        return await train_and_wait(self.admission, self, body)  # type: ignore[arg-type]


Training.add_asgi_middleware(GracefulShutdown, seconds=settings().stop_seconds, behind=True)  # type: ignore[attr-defined]


async def train_and_wait(admission: Admission, starter: Starter, request: TrainRequest) -> TrainAnswer:
    """Admit the request, see it through, and answer as `/train` does.

    Raises:
        Refusal: the request is not acceptable, or the job failed, with its status.
    """
    record = await asyncio.to_thread(admission.admit, request)
    if record.state == "queued":
        await starter.start(job_id=record.job_id)
    return await wait(admission.jobs, record)


async def wait(jobs: Jobs, record: JobRecord) -> TrainAnswer:
    """Until the job has ended. The record is asked, not the process, since the record outlives it."""
    while record.state not in TERMINAL:
        await asyncio.sleep(_POLL_SECONDS)
        with contextlib.suppress(Unavailable):  # training goes on while storage is away, and so does waiting
            record = await asyncio.to_thread(jobs.get, record.job_id)
    if record.state == "cancelled":
        raise Refusal(409, f"job {record.job_id} was cancelled")
    if record.result is None:
        raise Refusal(record.error_status or 500, f"job {record.job_id} failed: {record.error}")
    return record.result
