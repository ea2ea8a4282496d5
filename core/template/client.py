"""The client's side of a template process."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping

from core.errors import Refusal
from core.settings import ROOT

PID = struct.Struct("<i")
# The exit status; negative, the number of the signal that killed the process.
STATUS = struct.Struct("<i")

# NumPy's linear algebra starts its threads when it is imported.
_NO_THREADS_AT_IMPORT = {"OPENBLAS_NUM_THREADS": "1"}


class Template:
    """A template process, which is started when it is first needed, and again after it has died.

    A process that was itself forked from a template may use a `Template` that the other process has started: both fork
    children of the same template process, which ends when all of them have closed it.

    Args:
        purpose: continues "the process that ", for the message of a refusal.
        serve, prepare: functions of the template process as `module:function`.
        environment: variables beside those of this process.
        new_session: whether signals to this process's group, such as Ctrl-C, do not reach the template.
    """

    def __init__(
        self,
        purpose: str,
        *,
        serve: str,
        prepare: str,
        environment: Mapping[str, str] | None = None,
        new_session: bool = False,
    ) -> None:
        self._purpose, self._serve, self._prepare = purpose, serve, prepare
        self._environment, self._new_session = dict(environment or {}), new_session
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._starter = 0

    @property
    def running(self) -> bool:
        """Whether the template was started, and not closed since."""
        return self._control is not None

    def start(self) -> None:
        """Start the template now, so that the first child waits less."""
        with self._lock:
            if self._control is None:
                self._control = self._start()

    def close(self) -> None:
        """End the template, if this process has started it. `fork` starts it again."""
        with self._lock:
            if self._control is None:
                return
            self._control.close()
            self._control = None
            if self._process is not None and self._starter == os.getpid():
                self._process.kill()
                self._process.wait()

    def fork(self, *ends: socket.socket) -> None:
        """Have the template fork a child for this end of a socket pair, and write its exit status to a second one.

        Raises:
            Refusal: 503, the template does not start.
        """
        with self._lock:
            for control in (self._control, None):
                self._control = control or self._start()
                try:
                    socket.send_fds(self._control, [b"f"], [end.fileno() for end in ends])
                except OSError:
                    self._control.close()
                else:
                    return
            self._control = None
            raise self.not_started()

    def not_started(self) -> Refusal:
        return Refusal(503, f"the process that {self._purpose} cannot be started; try again later")

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
            environment = os.environ | _NO_THREADS_AT_IMPORT | self._environment | {"PYTHONPATH": path}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "core.template.process", str(theirs.fileno()), self._serve, self._prepare],
                env=environment,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=self._new_session,
            )
        self._starter = os.getpid()
        return ours


class Child:
    """A child of a template, by its process id."""

    def __init__(self) -> None:
        self.pid = 0
        self._pidfd: int | None = None

    def identify(self, pid: bytes) -> None:
        """Take its process id. The child waits for its work, so the id does not belong to another process yet."""
        (self.pid,) = PID.unpack(pid)
        if hasattr(os, "pidfd_open"):
            self._pidfd = os.pidfd_open(self.pid)

    def send_signal(self, number: signal.Signals) -> None:
        """Send the signal, unless the child has ended or was not identified."""
        try:
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, number)
            elif self.pid:
                os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def close(self) -> None:
        """Give up the hold on the process id: no signal is sent any more."""
        self.pid = 0
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
