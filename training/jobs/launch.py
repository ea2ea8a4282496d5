"""Starting the process of an attempt at a job: on this machine, or by Ray on a machine of its cluster."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from typing import Protocol

from core.settings import ROOT, Settings

# How long a process may take to save its checkpoint when it is asked to end.
STOP_GRACE_SECONDS = 300


class TrainingProcess(Protocol):
    """A started process. How the job ended is in the job's record; this is only how its process ended."""

    async def wait(self) -> str | None:
        """Wait until the process has ended. Returns the reason if it ended in another way than it should."""

    async def end(self, grace_seconds: float) -> None:
        """Ask the process to end, and kill it if it is still there after `grace_seconds`."""


class Launcher(Protocol):
    async def start(self, job_id: str, attempt: int) -> TrainingProcess:
        """Raises Refusal if the process cannot be started now."""

    def close(self) -> None:
        """Give up what is kept for further starts. Processes that were started go on."""


def launcher(config: Settings) -> Launcher:
    """The launcher of the settings: Ray if `TRAIN_RAY_URL` is set, processes of this machine otherwise."""
    if config.train_ray_url:
        from training.jobs.ray import RayLauncher

        return RayLauncher(config.train_ray_url, config.train_ray_resources, config)
    return local_launcher()


def local_launcher() -> Launcher:
    """The launcher of this machine. It forks on Linux only: the system libraries of macOS do not survive it."""
    if sys.platform == "linux":
        from training.jobs.fork import ForkLauncher

        return ForkLauncher()
    return SubprocessLauncher()


def command(job_id: str, attempt: int) -> list[str]:
    """The command line of an attempt's process."""
    return [sys.executable, "-m", "training.run", job_id, str(attempt)]


class SubprocessLauncher:
    """Starts a new interpreter for each attempt."""

    async def start(self, job_id: str, attempt: int) -> TrainingProcess:
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        return _Subprocess(await asyncio.create_subprocess_exec(*command(job_id, attempt), cwd=ROOT, env=environment))

    def close(self) -> None:
        pass


def reason_of(code: int) -> str | None:
    """Why a job without another reason failed, by its process's exit status; None if it is that of success."""
    if not code:
        return None
    cause = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    return f"the training process {cause}; its log says more"


class _Subprocess:
    def __init__(self, process: Process) -> None:
        self._process = process

    async def wait(self) -> str | None:
        return reason_of(await self._process.wait())

    async def end(self, grace_seconds: float) -> None:
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(grace_seconds):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
