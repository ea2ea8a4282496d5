"""Training jobs: list, follow, cancel, resume, delete; their reports and previews."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr

from producer_twin._async.event_stream import events
from producer_twin._async.resource import AsyncResource
from producer_twin._async.transport import NO_READ_TIMEOUT
from producer_twin._paths import path_of
from producer_twin.errors import JobFailed
from producer_twin.models import JobAnswer, JobDeletedAnswer, ReportAnswer, TrainAnswer

if TYPE_CHECKING:
    from producer_twin._async.client import AsyncProducerTwin
    from producer_twin._async.twins import AsyncTwin

TERMINAL = frozenset({"done", "failed", "cancelled"})


class AsyncJob(JobAnswer):
    """A training, as it was when the service was asked."""

    _client: AsyncProducerTwin = PrivateAttr()

    @property
    def lora_id(self) -> str:
        """The id of the twin that it makes."""
        return f"{self.producer_id}:{self.model_name}"

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL

    async def refresh(self) -> AsyncJob:
        """The job as it is now."""
        return await self._client.jobs.get(self.job_id)

    def events(self) -> AsyncIterator[AsyncJob]:
        """The job now and whenever it changes, until it has ended."""
        return self._client.jobs.events(self.job_id)

    async def wait(self, on_change: Callable[[AsyncJob], Any] | None = None) -> AsyncJob:
        """The job when it is done.

        Args:
            on_change: is called with the job whenever it changes.

        Raises:
            JobFailed: it failed, or was cancelled.
        """
        job = self
        async for job in self.events():
            if on_change:
                on_change(job)
        if job.state != "done":
            raise JobFailed(job)
        return job

    async def cancel(self) -> AsyncJob:
        """Cancel the job; the twin so far is kept, marked partial."""
        return await self._client.jobs.cancel(self.job_id)

    async def resume(self) -> AsyncJob:
        """Go on from the last checkpoint."""
        return await self._client.jobs.resume(self.job_id)

    async def delete(self) -> JobDeletedAnswer:
        """Delete the job with its dataset and report; its twin stays."""
        return await self._client.jobs.delete(self.job_id)

    async def report(self) -> ReportAnswer:
        """The report on the twin."""
        return await self._client.jobs.report(self.job_id)

    async def twin(self) -> AsyncTwin:
        """The twin that it made."""
        return await self._client.twins.get(self.lora_id)


class AsyncJobs(AsyncResource):
    """The training jobs."""

    async def list(self, *, producer_id: str | None = None, state: str | None = None) -> builtins.list[AsyncJob]:
        """The jobs, the newest first."""
        answer = await self._transport.send("GET", "/jobs", params={"producer_id": producer_id, "state": state})
        return [self._job(row) for row in answer.json()["jobs"]]

    async def get(self, job_id: str) -> AsyncJob:
        """A job, by its own id or its task's."""
        return self._job((await self._transport.send("GET", path_of("/jobs/{job_id}", job_id=job_id))).json())

    async def result(self, job_id: str) -> TrainAnswer:
        """The result of a job, as `training.train` answers it; waits until the job is done."""
        path = path_of("/jobs/{job_id}/result", job_id=job_id)
        return TrainAnswer.model_validate_json(
            (await self._transport.send("GET", path, timeout=NO_READ_TIMEOUT)).content
        )

    async def delete(self, job_id: str) -> JobDeletedAnswer:
        """Delete a job that has ended, with its dataset and report; its twin stays."""
        path = path_of("/jobs/{job_id}", job_id=job_id)
        answer = await self._transport.send("DELETE", path, repeatable=False)
        return JobDeletedAnswer.model_validate_json(answer.content)

    async def cancel(self, job_id: str) -> AsyncJob:
        """Cancel a job; the twin so far is kept, marked partial."""
        return self._job((await self._transport.send("POST", path_of("/jobs/{job_id}/cancel", job_id=job_id))).json())

    async def resume(self, job_id: str) -> AsyncJob:
        """Resume a job that failed or was cancelled, from its last checkpoint."""
        path = path_of("/jobs/{job_id}/resume", job_id=job_id)
        # A second resume finds a job under way, and is refused.
        return self._job((await self._transport.send("POST", path, repeatable=False)).json())

    async def events(self, job_id: str) -> AsyncIterator[AsyncJob]:
        """The job now and whenever it changes, until it has ended. A lost connection is made again.

        Raises:
            ApiError: such as 404, the job was deleted.
            Unreachable: the connection was lost several times with nothing received in between.
        """
        path = path_of("/jobs/{job_id}/events", job_id=job_id)
        async for data in events(self._transport, path, lambda data: self._job(data).ended):
            yield self._job(data)

    async def report(self, job_id: str) -> ReportAnswer:
        """The report on the twin that a job made."""
        answer = await self._transport.send("GET", path_of("/jobs/{job_id}/report.json", job_id=job_id))
        return ReportAnswer.model_validate_json(answer.content)

    async def report_page(self, job_id: str) -> str:
        """The report as an HTML page, with its pictures and sounds inside."""
        path = path_of("/jobs/{job_id}/report", job_id=job_id)
        return (await self._transport.send("GET", path, page=True)).text

    async def preview(self, job_id: str, name: str) -> bytes:
        """A preview, as audio or as its spectrogram, by the last part of its URL."""
        path = path_of("/jobs/{job_id}/previews/{name}", job_id=job_id, name=name)
        return (await self._transport.send("GET", path)).content

    def _job(self, record: Any) -> AsyncJob:
        """The job of a record, which is JSON or already decoded."""
        job = AsyncJob.model_validate_json(record) if isinstance(record, str) else AsyncJob.model_validate(record)
        job._client = self._client
        return job
