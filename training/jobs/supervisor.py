"""Starts a process for each job, a few at a time, and writes down how it ended if it could not do so itself."""

from __future__ import annotations

import asyncio
import logging

from core.errors import Refusal
from training.jobs.launch import LAST_WORDS_SECONDS, Here, Launch, Running
from training.jobs.store import DESERTED, HEARTBEAT, JobEnded, Jobs

log = logging.getLogger("producer_twin.training")

STOPPED = "the server was stopped while the job was under way; resume it to go on"
# How long a process may take to save what it has when the server stops, which does not wait longer itself.
_GRACE_SECONDS = 15.0


class Supervisor:
    """Training has a process of its own: its memory comes back, and a crash is an answer and not an outage."""

    def __init__(self, jobs: Jobs, at_once: int, launch: Launch | None = None) -> None:
        self.jobs = jobs
        self._launch = launch or Here()
        self._slots = asyncio.Semaphore(at_once)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._processes: dict[str, Running] = {}

    def start(self, job_id: str) -> None:
        """Take a job of the queue on. It waits for its turn, and for an earlier attempt of its to have ended."""
        task = asyncio.create_task(self._run(job_id, self._tasks.get(job_id)))
        self._tasks[job_id] = task
        task.add_done_callback(lambda done: self._tasks.get(job_id) is done and self._tasks.pop(job_id))

    async def take_up(self) -> None:
        """See to it, from now on, that no job stays in the queue because the supervisor that had it has ended."""
        while True:
            await asyncio.sleep(DESERTED.total_seconds())
            try:
                for record in await asyncio.to_thread(self.jobs.unattended):
                    if record.job_id not in self._tasks:
                        log.info("job %s was left in the queue", record.job_id)
                        self.start(record.job_id)
            except Refusal as error:
                log.warning("the queue: %s", error)
            except Exception:
                log.exception("the queue")

    async def cancel(self, job_id: str) -> None:
        """Tell the job's process, if it is here, that its record asks for its end. It ends within a step."""
        process = self._processes.get(job_id)
        if process is not None:
            await process.end(LAST_WORDS_SECONDS)

    async def stop(self) -> None:
        """End the processes that are under way. They save what they have, and their jobs can be resumed.

        What waits stays in the queue, for whoever takes it up within a minute.
        """
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job_id: str, earlier: asyncio.Task[None] | None) -> None:
        try:
            attempt = (await asyncio.to_thread(self.jobs.get, job_id)).attempt
        except Refusal as error:
            log.warning("job %s: %s", job_id, error)
            return
        beat = asyncio.create_task(self._beat(job_id, attempt))
        begun = False
        try:
            if earlier:
                await asyncio.wait([earlier])
            async with self._slots:
                begun = True
                await self._train(job_id, attempt)
        except asyncio.CancelledError:
            if begun:
                await asyncio.to_thread(self._fail, job_id, attempt, STOPPED, 503)
            raise
        except JobEnded:
            log.info("job %s is not ours to do any more", job_id)
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
        """Show that the job is not deserted, also while it waits or computes something long."""
        while True:
            try:
                await asyncio.to_thread(self.jobs.update, job_id, attempt=attempt)
            except JobEnded:
                return
            except Refusal as error:
                log.warning("job %s: %s", job_id, error)
            await asyncio.sleep(HEARTBEAT.total_seconds())

    async def _train(self, job_id: str, attempt: int) -> None:
        # Claimed here, since the process first spends seconds on importing what it needs.
        await asyncio.to_thread(self.jobs.claim, job_id, attempt)
        process = self._processes[job_id] = await self._launch.start(job_id, attempt)
        try:
            reason = await process.wait()
        except asyncio.CancelledError:
            await process.end(_GRACE_SECONDS)
            raise
        finally:
            del self._processes[job_id]
        if reason:
            told = f"{reason}; resume the job to go on from its checkpoint"
            await asyncio.to_thread(self._fail, job_id, attempt, told)
