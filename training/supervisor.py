"""Starts a subprocess for each job, a few at a time, and writes down how it ended if it could not do so itself."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from errors import Refusal
from settings import ROOT
from storage import NotFound
from training.jobs import HEARTBEAT, JobEnded, Jobs

log = logging.getLogger("producer_twin.training")


class Supervisor:
    """Training has a process of its own: its memory comes back, and a crash is an answer and not an outage."""

    def __init__(self, jobs: Jobs, at_once: int) -> None:
        self.jobs = jobs
        self._slots = asyncio.Semaphore(at_once)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, job_id: str) -> None:
        """Take the job on, unless it is under way. It waits for its turn."""
        if job_id not in self._tasks:
            task = asyncio.create_task(self._run(job_id))
            self._tasks[job_id] = task
            task.add_done_callback(lambda _: self._tasks.pop(job_id, None))

    async def stop(self) -> None:
        """End the processes that are under way; their jobs are written down as failed."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job_id: str) -> None:
        beat = asyncio.create_task(self._beat(job_id))
        try:
            async with self._slots:
                await self._train(job_id)
        except asyncio.CancelledError:
            await asyncio.to_thread(self.jobs.fail, job_id, "the server was stopped while the job was under way", 503)
            raise
        except JobEnded:
            log.info("job %s is not ours to do any more", job_id)
        except Exception:
            log.exception("job %s", job_id)
            await asyncio.to_thread(self.jobs.fail, job_id, "the training process could not be started")
        finally:
            beat.cancel()

    async def _beat(self, job_id: str) -> None:
        """Show that the job is not deserted, also while it waits or computes something long."""
        while True:
            try:
                await asyncio.to_thread(self.jobs.update, job_id)
            except (JobEnded, NotFound):
                return
            except Refusal as error:
                log.warning("job %s: %s", job_id, error)
            await asyncio.sleep(HEARTBEAT.total_seconds())

    async def _train(self, job_id: str) -> None:
        # Claimed here, since the process first spends seconds on importing what it needs.
        await asyncio.to_thread(self.jobs.claim, job_id)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "training.run", job_id, cwd=ROOT, env=os.environ | {"PYTHONUNBUFFERED": "1"}
        )
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if code:
            cause = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
            await asyncio.to_thread(self.jobs.fail, job_id, f"the training process {cause}; its log says more")
