"""The caller's side of the sandbox, with and without an event loop."""

from __future__ import annotations

import asyncio
import os
import pickle  # nosec B403
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from core.errors import Refusal
from core.sandbox.messages import LENGTH, PID, Exceeded, Limits, dumps
from core.settings import ROOT

T = TypeVar("T")

# Threads of numerical libraries do not survive a fork.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
_NOT_STARTED = "the process that reads files cannot be started; try again later"
_CHUNK = 2**20
# A new template imports its libraries before it forks the first child.
_START_SECONDS = 120.0
_TOO_LONG = "it takes too long to read; export it again, or send another format"
_CRASHED = "it takes too much time or memory to read, or makes its reader crash; export it again"


class Sandbox:
    """Makes calls with limits, each in a child of one template process, which the first call starts.

    Args:
        prepare: `module:function`, called once in the template to import and warm up the libraries of the calls.
    """

    def __init__(self, prepare: str) -> None:
        self._prepare = prepare
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._template: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the template now, so that the first call waits less."""
        with self._lock:
            if self._control is None:
                self._control = self._start_template()

    def close(self) -> None:
        """End the template and its children. A later call starts it again."""
        with self._lock:
            if self._control is not None and self._template is not None:
                self._control.close()
                self._control = None
                self._template.kill()
                self._template.wait()

    async def run(self, limits: Limits, function: Callable[..., T], *arguments: Any) -> T:
        """Call a module's function. Cancelling kills the child.

        Args:
            limits: of this call.
            function: it, its arguments and its result must be picklable.
            arguments: an `io.FileIO` among them arrives as the same open file.

        Raises:
            Exceeded: a limit was reached, or the child crashed.
            Refusal: 503, the template does not start.
            Exception: an exception of the function itself.
        """
        loop = asyncio.get_running_loop()
        call, descriptors = dumps((limits, function, arguments))

        async def receive(length: int) -> bytes:
            data = bytearray()
            while len(data) < length:
                received = await loop.sock_recv(child.socket, min(_CHUNK, length - len(data)))
                if not received:
                    raise ConnectionResetError("the child has closed the socket")
                data += received
            return bytes(data)

        with self._child() as child:
            try:
                async with asyncio.timeout(_START_SECONDS):
                    child.identify(await receive(PID.size))
            except (TimeoutError, OSError):
                raise Refusal(503, _NOT_STARTED) from None
            try:
                async with asyncio.timeout(limits.seconds):
                    socket.send_fds(child.socket, [LENGTH.pack(len(call))], descriptors)
                    await loop.sock_sendall(child.socket, call)
                    answer = await receive(LENGTH.unpack(await receive(LENGTH.size))[0])
            except TimeoutError:
                raise Exceeded(_TOO_LONG) from None
            except OSError:
                raise Exceeded(_CRASHED) from None
        returned, value = pickle.loads(answer)  # nosec B301 - from our own child
        if returned:
            return value
        raise value

    def call(self, limits: Limits, function: Callable[..., T], *arguments: Any) -> T:
        """`run` for callers without an event loop."""
        return asyncio.run(self.run(limits, function, *arguments))

    @contextmanager
    def _child(self) -> Iterator[_Child]:
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            with theirs:
                self._fork_child(theirs)
            child = _Child(ours)
            try:
                yield child
            finally:
                child.kill()

    def _fork_child(self, end: socket.socket) -> None:
        """Have the template fork a child for this end of a socket. A template that has died is replaced."""
        with self._lock:
            for control in (self._control, None):
                self._control = control or self._start_template()
                try:
                    socket.send_fds(self._control, [b"f"], [end.fileno()])
                except OSError:
                    self._control.close()
                else:
                    return
            self._control = None
            raise Refusal(503, _NOT_STARTED)

    def _start_template(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
            self._template = subprocess.Popen(
                [sys.executable, "-m", "core.sandbox.template", str(theirs.fileno()), self._prepare],
                env=os.environ | _ONE_THREAD | {"PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C goes to the caller only, which ends the children
            )
        return ours


class _Child:
    """The child of one call, at the other end of a socket."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._pid = 0
        self._pidfd: int | None = None

    def identify(self, pid: bytes) -> None:
        """Take its process id. The child is still waiting for its call, so the id is not another process's yet."""
        (self._pid,) = PID.unpack(pid)
        if hasattr(os, "pidfd_open"):
            self._pidfd = os.pidfd_open(self._pid)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        try:
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            elif self._pid:
                os.kill(self._pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            if self._pidfd is not None:
                os.close(self._pidfd)
