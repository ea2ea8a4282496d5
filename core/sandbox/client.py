"""The caller's side of the sandbox, with and without an event loop."""

from __future__ import annotations

import asyncio
import pickle  # nosec B403
import signal
import socket
from collections.abc import Callable
from typing import Any, TypeVar

from core.sandbox.messages import LENGTH, Exceeded, Limits, dumps
from core.template import Child, Template
from core.template.client import PID

T = TypeVar("T")

# Threads of numerical libraries do not survive a fork.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
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
        self._template = Template(
            "reads files",
            serve="core.sandbox.child:serve",
            prepare=prepare,
            environment=_ONE_THREAD,
            new_session=True,  # Ctrl-C goes to the caller only, which ends the children
        )

    def start(self) -> None:
        """Start the template now, so that the first call waits less."""
        self._template.start()

    def close(self) -> None:
        """End the template and its children. A later call starts it again."""
        self._template.close()

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
                received = await loop.sock_recv(ours, min(_CHUNK, length - len(data)))
                if not received:
                    raise ConnectionResetError("the child has closed the socket")
                data += received
            return bytes(data)

        ours, theirs = socket.socketpair()
        child = Child()
        with ours:
            ours.setblocking(False)
            try:
                with theirs:
                    self._template.fork(theirs)
                try:
                    async with asyncio.timeout(_START_SECONDS):
                        child.identify(await receive(PID.size))
                except (TimeoutError, OSError):
                    raise self._template.not_started() from None
                try:
                    async with asyncio.timeout(limits.seconds):
                        socket.send_fds(ours, [LENGTH.pack(len(call))], descriptors)
                        await loop.sock_sendall(ours, call)
                        answer = await receive(LENGTH.unpack(await receive(LENGTH.size))[0])
                except TimeoutError:
                    raise Exceeded(_TOO_LONG) from None
                except OSError:
                    raise Exceeded(_CRASHED) from None
            finally:
                child.send_signal(signal.SIGKILL)
                child.close()
        returned, value = pickle.loads(answer)  # nosec B301 - from our own child
        if returned:
            return value
        raise value

    def call(self, limits: Limits, function: Callable[..., T], *arguments: Any) -> T:
        """`run` for callers without an event loop."""
        return asyncio.run(self.run(limits, function, *arguments))
