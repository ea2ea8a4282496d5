"""The child of a sandboxed call: it takes the call, limits itself, and sends the answer."""

from __future__ import annotations

import fcntl
import os
import pickle  # nosec B403
import resource
import signal
import socket
import sys
from collections.abc import Callable

from core.sandbox.messages import LENGTH, MAX_FILES, Exceeded, Limits, loads

_TOO_LARGE = "it takes too much memory to read; export it again, or send another format"


def serve(client: socket.socket) -> int:
    """Receive one call, carry it out and send the answer.

    Raises:
        ConnectionError: the client has closed the socket.
    """
    header, descriptors, _, _ = socket.recv_fds(client, LENGTH.size, MAX_FILES)
    if not header:
        raise ConnectionResetError
    (length,) = LENGTH.unpack(header)
    limits, function, arguments = loads(_exactly(client, length), list(descriptors))
    _end_with(client)
    _limit(limits)
    answer = _pickled(lambda: function(*arguments))
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # it is also sent when there is room for more of a long answer
    client.sendall(LENGTH.pack(len(answer)))
    client.sendall(answer)
    return 0


def _end_with(client: socket.socket) -> None:
    """Have the kernel end this process with SIGIO once the client closes the socket, as it does when it is killed."""
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(client, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(client, fcntl.F_SETFL, fcntl.fcntl(client, fcntl.F_GETFL) | os.O_ASYNC)


def _limit(limits: Limits) -> None:
    if limits.niceness:
        os.nice(limits.niceness)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds))
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            own = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (own + limits.memory, own + limits.memory))


def _pickled(call: Callable[[], object]) -> bytes:
    """A pickle of (True, the result) or (False, the exception)."""
    try:
        return pickle.dumps((True, call()), protocol=pickle.HIGHEST_PROTOCOL)
    except MemoryError:
        return pickle.dumps((False, Exceeded(_TOO_LARGE)))
    except Exception as error:  # noqa: BLE001 - it is raised again in the client
        return _pickled_error(error)


def _pickled_error(error: Exception) -> bytes:
    try:
        pickled = pickle.dumps((False, error))
        pickle.loads(pickled)  # nosec B301 - some exceptions can be pickled but not unpickled
    except Exception:  # noqa: BLE001
        return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
    return pickled


def _exactly(client: socket.socket, length: int) -> bytes:
    data = bytearray(length)
    view = memoryview(data)
    done = 0
    while done < length:
        received = client.recv_into(view[done:])
        if not received:
            raise ConnectionResetError
        done += received
    return bytes(data)
