"""Training as a BentoML service: `start` and `cancel` for the API, and a task for use without the API."""

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
from core.temporary import start_sweeping
from storage import Unavailable, open_storage
from storage.retrying import RetryingStorage
from training.jobs.admission import Admission
from training.jobs.launch import launcher
from training.jobs.record import JobRecord
from training.jobs.store import Jobs
from training.jobs.supervisor import Supervisor

log = logging.getLogger("producer_twin.training")

_POLL_SECONDS = 0.5
_STORAGE_RETRY_SECONDS = 60.0


class Starter(Protocol):
    async def start(self, job_id: str) -> None: ...


@bentoml.service(**service_config("Training"))
class Training:
    """Supervises the training processes of this machine, or of a Ray cluster."""

    def __init__(self) -> None:
        config = settings()
        logs.configure(config)
        traces.configure(config)
        start_sweeping()
        storage = open_storage(config.storage_url, config.s3_endpoint_url)
        self.admission = Admission(storage, config)
        # A job must not fail because storage is unavailable for a moment when it starts or ends.
        jobs = Jobs(RetryingStorage(storage, _STORAGE_RETRY_SECONDS))
        self.supervisor = Supervisor(jobs, config.train_jobs_at_once, launcher(config))

    @bentoml.on_startup
    async def adopt_unattended(self) -> None:
        self._adopting = asyncio.create_task(self.supervisor.adopt_unattended())

    @bentoml.on_shutdown
    async def stop(self) -> None:
        self._adopting.cancel()
        await self.supervisor.stop()

    @bentoml.api
    async def start(self, job_id: str) -> None:
        """Run a queued job; answers at once."""
        log.info("job %s is to be started", job_id)
        self.supervisor.start(job_id)

    @bentoml.api
    async def cancel(self, job_id: str) -> None:
        """End the process of a job that was cancelled; answers when it has ended."""
        await self.supervisor.cancel(job_id)

    @bentoml.task
    async def train(self, body: TrainRequest, /) -> TrainAnswer:
        """Admit a train request and answer when its job is done."""
        return await train_and_wait(self.admission, self, body)  # type: ignore[arg-type]


Training.add_asgi_middleware(GracefulShutdown, seconds=settings().stop_seconds, behind=True)  # type: ignore[attr-defined]


async def train_and_wait(admission: Admission, starter: Starter, request: TrainRequest) -> TrainAnswer:
    """Admit the request, start its job, and answer as `/train` does when the job is done.

    Raises:
        Refusal: the request is not acceptable, or the job failed, with the status of its error.
    """
    return await wait(admission.jobs, await admit_and_start(admission, starter, request))


async def admit_and_start(admission: Admission, starter: Starter, request: TrainRequest) -> JobRecord:
    """Raises Refusal: the request is not acceptable."""
    record = await asyncio.to_thread(admission.admit, request)
    if record.state == "queued":
        await starter.start(job_id=record.job_id)
    return record


async def wait(jobs: Jobs, record: JobRecord) -> TrainAnswer:
    """Wait until the job has ended, by its record, which outlives its process.

    Raises:
        Refusal: the job failed or was cancelled.
    """
    while record.state not in TERMINAL:
        await asyncio.sleep(_POLL_SECONDS)
        with contextlib.suppress(Unavailable):  # the job goes on meanwhile
            record = await asyncio.to_thread(jobs.get, record.job_id)
    if record.state == "cancelled":
        raise Refusal(409, f"job {record.job_id} was cancelled")
    if record.result is None:
        raise Refusal(record.error_status or 500, f"job {record.job_id} failed: {record.error}")
    return record.result
