"""Starts a process for each job, a limited number at a time, and records how it ended if it could not do so itself."""

from __future__ import annotations

import asyncio
import logging

from core.errors import Refusal
from training.jobs.desertion import HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT
from training.jobs.launch import STOP_GRACE_SECONDS, Launcher, TrainingProcess, local_launcher
from training.jobs.store import Jobs
from training.jobs.transitions import JobEnded

log = logging.getLogger("producer_twin.training")

STOPPED = "the server was stopped while the job was under way; resume it to go on"
# Shorter than STOP_GRACE_SECONDS, since a server that stops does not wait longer itself.
_SERVER_STOP_GRACE_SECONDS = 15.0


class Supervisor:
    """Runs each job in a process of its own, so that its memory is freed and a crash ends that job alone.

    Args:
        at_once: how many processes may run at the same time; further jobs wait.
    """

    def __init__(self, jobs: Jobs, at_once: int, launcher: Launcher | None = None) -> None:
        self.jobs = jobs
        self._launcher = launcher or local_launcher()
        self._slots = asyncio.Semaphore(at_once)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._processes: dict[str, asyncio.Task[TrainingProcess]] = {}

    def start(self, job_id: str) -> None:
        """Run a queued job as soon as a slot is free and an earlier attempt at it has ended."""
        task = asyncio.create_task(self._run(job_id, self._tasks.get(job_id)))
        self._tasks[job_id] = task
        task.add_done_callback(lambda done: self._tasks.get(job_id) is done and self._tasks.pop(job_id))

    async def adopt_unattended(self) -> None:
        """Start, from now on, the queued jobs whose supervisor has ended. It does not return."""
        while True:
            await asyncio.sleep(HEARTBEAT_TIMEOUT.total_seconds())
            try:
                for record in await asyncio.to_thread(self.jobs.unattended):
                    if record.job_id not in self._tasks:
                        log.info("job %s was left in the queue and is started", record.job_id)
                        self.start(record.job_id)
            except Refusal as error:
                log.warning("looking for jobs left in the queue: %s", error)
            except Exception:
                log.exception("looking for jobs left in the queue")

    async def cancel(self, job_id: str) -> None:
        """End the job's process, if it is one of this supervisor's, and wait until it has ended.

        The job's record must ask for cancellation already. The process ends within a step.
        """
        start = self._processes.get(job_id)
        if start is None:
            return
        await asyncio.wait([start])
        if not start.cancelled() and not start.exception():
            await start.result().end(STOP_GRACE_SECONDS)

    async def stop(self) -> None:
        """End all processes. They save their checkpoints, and their jobs can be resumed.

        Jobs that wait for a slot stay in the queue, where another supervisor adopts them.
        """
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._launcher.close()

    async def _run(self, job_id: str, earlier: asyncio.Task[None] | None) -> None:
        try:
            attempt = (await asyncio.to_thread(self.jobs.get, job_id)).attempt
        except Refusal as error:
            log.warning("job %s: %s", job_id, error)
            return
        beat = asyncio.create_task(self._beat(job_id, attempt))
        has_slot = False
        try:
            if earlier:
                await asyncio.wait([earlier])
            async with self._slots:
                has_slot = True
                await self._train(job_id, attempt)
        except asyncio.CancelledError:
            if has_slot:
                await asyncio.to_thread(self._fail, job_id, attempt, STOPPED, 503)
            raise
        except JobEnded:
            log.info("job %s has ended or was started elsewhere", job_id)
        except Refusal as refusal:
            await asyncio.to_thread(self._fail, job_id, attempt, f"{refusal.message}; resume the job", refusal.status)
        except Exception:
            log.exception("job %s", job_id)
            await asyncio.to_thread(self._fail, job_id, attempt, "the training process could not be started")
        finally:
            beat.cancel()

    def _fail(self, job_id: str, attempt: int, error: str, status: int = 500) -> None:
        self.jobs.fail(job_id, error, status, attempt=attempt)

    async def _beat(self, job_id: str, attempt: int) -> None:
        """The job's heartbeat, also while it waits for a slot or its process is still starting."""
        while True:
            try:
                await asyncio.to_thread(self.jobs.update, job_id, attempt=attempt)
            except JobEnded:
                return
            except Refusal as error:
                log.warning("job %s: %s", job_id, error)
            await asyncio.sleep(HEARTBEAT_INTERVAL.total_seconds())

    async def _train(self, job_id: str, attempt: int) -> None:
        # Claimed here and not by the process, which may first spend seconds on its imports.
        await asyncio.to_thread(self.jobs.claim, job_id, attempt)
        start = self._processes[job_id] = asyncio.create_task(self._launcher.start(job_id, attempt))
        try:
            process = await start
            try:
                reason = await process.wait()
            except asyncio.CancelledError:
                await process.end(_SERVER_STOP_GRACE_SECONDS)
                raise
        finally:
            del self._processes[job_id]
        if reason:
            error = f"{reason}; resume the job to go on from its checkpoint"
            await asyncio.to_thread(self._fail, job_id, attempt, error)
