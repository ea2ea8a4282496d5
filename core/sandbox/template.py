"""The template process: it loads libraries, then forks a child for each call.

    python -m core.sandbox.template <descriptor of the control socket> <module>:<function>

The function prepares the template. Each message on the control socket is one byte and the child's end of a socket pair,
over which the child sends its process id, receives its call and sends the answer. The template ends when the control
socket closes, and its children end with it.
"""

from __future__ import annotations

import importlib
import os
import pickle  # nosec B403
import resource
import signal
import socket
import sys
from collections.abc import Callable

from core.processes import kill_when_parent_dies
from core.sandbox.messages import LENGTH, MAX_FILES, PID, Exceeded, Limits, loads

_TOO_LARGE = "it takes too much memory to read; export it again, or send another format"


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    module, _, function = sys.argv[2].partition(":")
    getattr(importlib.import_module(module), function)()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel then keeps no zombies
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        template = os.getpid()
        if os.fork() == 0:
            control.close()
            _die_with(template)
            _answer(socket.socket(fileno=descriptors[0]))
        os.close(descriptors[0])


def _die_with(template: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    kill_when_parent_dies()
    if os.getppid() != template:
        os._exit(1)


def _answer(client: socket.socket) -> None:
    """Receive one call, carry it out, send the answer and end the process."""
    try:
        client.sendall(PID.pack(os.getpid()))
        header, descriptors, _, _ = socket.recv_fds(client, LENGTH.size, MAX_FILES)
        (length,) = LENGTH.unpack(header)
        limits, function, arguments = loads(_exactly(client, length), list(descriptors))
        _limit(limits)
        answer = _pickled(lambda: function(*arguments))
        client.sendall(LENGTH.pack(len(answer)))
        client.sendall(answer)
    except OSError:
        pass  # the client has closed the socket
    finally:
        os._exit(0)


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
            raise OSError("the client has closed the socket")
        done += received
    return bytes(data)


if __name__ == "__main__":
    main()
