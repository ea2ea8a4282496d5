"""How the process of an attempt at a job is started: here, or by Ray on a machine of its cluster."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from typing import Protocol

from core.settings import ROOT, Settings

# How long a process may take to save what it has when it is asked to end.
LAST_WORDS_SECONDS = 300


class Running(Protocol):
    """A process that was started. The job's record says how the job ended; this, how its process did."""

    async def wait(self) -> str | None:
        """Until it has ended: why it ended otherwise than it should, None if it did not."""

    async def end(self, patience: float) -> None:
        """Ask it to end, wait for so many seconds, and kill it if it does not."""


class Launch(Protocol):
    async def start(self, job_id: str, attempt: int) -> Running:
        """Raises Refusal if it cannot be started now."""


def launch(config: Settings) -> Launch:
    """The one that the settings ask for."""
    if config.train_ray_url:
        from training.jobs.ray import RayJobs

        return RayJobs(config.train_ray_url, config.train_ray_resources, config)
    return Here()


def command(job_id: str, attempt: int) -> list[str]:
    return [sys.executable, "-m", "training.run", job_id, str(attempt)]


class Here:
    """A subprocess."""

    async def start(self, job_id: str, attempt: int) -> Running:
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        return _Subprocess(await asyncio.create_subprocess_exec(*command(job_id, attempt), cwd=ROOT, env=environment))


class _Subprocess:
    def __init__(self, process: Process) -> None:
        self._process = process

    async def wait(self) -> str | None:
        code = await self._process.wait()
        if not code:
            return None
        cause = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return f"the training process {cause}; its log says more"

    async def end(self, patience: float) -> None:
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(patience):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
