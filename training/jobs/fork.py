"""Starting the process of an attempt as a child of a template process that has imported the libraries."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
from contextlib import ExitStack

from core.errors import Refusal
from core.template import Child, Template
from core.template.client import PID, STATUS
from training.jobs.launch import SubprocessLauncher, TrainingProcess, reason_of

log = logging.getLogger("producer_twin.training")

# The name of a job's process, whose command line is the template's.
PROCESS_NAME = "training"
# An unused template ends after this time, since it takes half a gigabyte.
_IDLE_SECONDS = 1800.0
# Imports take longer than this on no machine that works.
START_SECONDS = 300.0
# Libraries that look for a GPU when they are imported ask NVML, since a CUDA context would not survive the fork.
_ENVIRONMENT = {"PYTHONUNBUFFERED": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}


class ForkLauncher:
    """Forks a process for each attempt. The first attempt starts the template, and waits for its imports.

    Where the template does not start, as when a library starts a thread when it is imported, an attempt's process is a
    new interpreter.

    Args:
        prepare: `module:function`, which imports the libraries in the template.
    """

    def __init__(self, prepare: str = "training.warm:load") -> None:
        self._template = Template("trains", serve="training.warm:serve", prepare=prepare, environment=_ENVIRONMENT)
        self._open = 0
        self._expiry: asyncio.TimerHandle | None = None

    async def start(self, job_id: str, attempt: int) -> TrainingProcess:
        if self._expiry:
            self._expiry.cancel()
        self._open += 1
        try:
            child, status = await self._fork(json.dumps([job_id, attempt]).encode())
        except Refusal as refusal:
            self._ended()
            log.warning("%s; job %s imports for itself", refusal.message, job_id)
            return await SubprocessLauncher().start(job_id, attempt)
        except BaseException:
            self._ended()
            raise
        process = _ForkedProcess(child, status)
        process.ended.add_done_callback(lambda _: self._ended())
        return process

    def close(self) -> None:
        if self._expiry:
            self._expiry.cancel()
        self._template.close()

    async def _fork(self, message: bytes) -> tuple[Child, socket.socket]:
        """A child that has received the message, and the socket on which its exit status comes."""
        loop = asyncio.get_running_loop()
        with ExitStack() as on_failure:
            client, clients_end = socket.socketpair()
            status, observers_end = socket.socketpair()
            on_failure.enter_context(status)
            with client, clients_end, observers_end:
                client.setblocking(False)
                status.setblocking(False)
                await asyncio.to_thread(self._template.fork, clients_end, observers_end)
                clients_end.close()
                child = Child()
                try:
                    async with asyncio.timeout(START_SECONDS):
                        pid = await loop.sock_recv(client, PID.size)
                    if not pid:
                        raise ConnectionResetError
                    child.identify(pid)
                    await loop.sock_sendall(client, message)
                except TimeoutError:
                    await asyncio.to_thread(self._template.close)
                    raise self._template.not_started() from None
                except OSError:
                    raise self._template.not_started() from None
            on_failure.pop_all()
        return child, status

    def _ended(self) -> None:
        self._open -= 1
        if not self._open:
            self._expiry = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._template.close)


class _ForkedProcess:
    def __init__(self, child: Child, status: socket.socket) -> None:
        self._child = child
        self.ended = asyncio.create_task(self._wait(status))

    async def wait(self) -> str | None:
        return await asyncio.shield(self.ended)

    async def end(self, grace_seconds: float) -> None:
        self._child.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_seconds):
                await self.wait()
        except TimeoutError:
            self._child.send_signal(signal.SIGKILL)
            await self.wait()

    async def _wait(self, status: socket.socket) -> str | None:
        with status:
            packed = await asyncio.get_running_loop().sock_recv(status, STATUS.size)
        self._child.close()
        if packed:
            return reason_of(*STATUS.unpack(packed))
        # The socket closes without a status once the child has ended as well as the template.
        return "the training process and the one that started it have ended; their log says more"
