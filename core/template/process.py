"""The template process: it imports libraries, then forks a child for each message on its control socket.

    python -m core.template.process <descriptor of the control socket> <serve> <prepare>

Both functions are named as `module:function`. `prepare` imports the libraries. `serve` is called in each child with the
child's end of a socket pair, over which the child has sent its process id, and returns the child's exit status.

A message is one byte with one or two descriptors. The first is the child's end of the socket pair. The second is a
socket to which the template writes the child's exit status. A child with a second descriptor lives on when the template
ends; other children end with it. The template ends when the control socket closes.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from core.processes import kill_when_parent_dies
from core.template.client import PID, STATUS

_MAX_DESCRIPTORS = 2


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the client too, which ends the template
    serve, prepare = map(_imported, sys.argv[2:4])
    prepare()
    if count_threads() > 1:
        raise RuntimeError(f"{sys.argv[3]} has started threads, which do not survive a fork")
    gc.collect()
    gc.freeze()  # a collection in a child would otherwise write to, and so copy, all pages with objects
    Forker(control, serve).run()
    os._exit(0)  # at once, where the interpreter would take seconds to free large libraries


def count_threads() -> int:
    """The threads of this process, those of native libraries included where the system tells."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return threading.active_count()


class Forker:
    """Forks a child for each message, and reaps the children."""

    def __init__(self, control: socket.socket, serve: Callable[[socket.socket], int]) -> None:
        self._control, self._serve = control, serve
        self._observers: dict[int, int] = {}  # by process id, the descriptor that takes the exit status

    def run(self) -> None:
        signal.signal(signal.SIGCHLD, self._reap)
        while True:
            message, descriptors, _, _ = socket.recv_fds(self._control, 1, _MAX_DESCRIPTORS)
            if not message:
                return
            self._fork(*descriptors)

    def _fork(self, end: int, observer: int | None = None) -> None:
        # Until its observer is known, no child is reaped.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        template = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:  # no memory, or too many processes; the client sees that its sockets close
            print(f"no child was forked: {error}", file=sys.stderr, flush=True)
            pid = -1
        if not pid:
            self._become_child(template, end, observer)
        os.close(end)
        if observer is not None and pid > 0:
            self._observers[pid] = observer
        elif observer is not None:
            os.close(observer)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])

    def _become_child(self, template: int, end: int, observer: int | None) -> NoReturn:
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            self._control.close()
            for other in self._observers.values():
                os.close(other)
            if observer is None:
                kill_when_parent_dies()
                if os.getppid() != template:
                    os._exit(1)
            client = socket.socket(fileno=end)
            client.sendall(PID.pack(os.getpid()))
            status = self._serve(client)
        except ConnectionError:
            pass  # the client has closed the socket
        except BaseException:  # noqa: BLE001 - the process ends here
            traceback.print_exc()
        finally:
            with suppress(Exception):
                logging.shutdown()
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _reap(self, *_: object) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                observer = self._observers.pop(pid, None)
                if observer is not None:
                    with suppress(OSError):  # the client has closed the socket
                        os.write(observer, STATUS.pack(os.waitstatus_to_exitcode(status)))
                    os.close(observer)


def _imported(path: str) -> Any:
    module, _, function = path.partition(":")
    return getattr(importlib.import_module(module), function)


if __name__ == "__main__":
    main()
