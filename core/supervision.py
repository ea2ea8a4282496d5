"""Secures BentoML's supervisor (circus): only its own user can command it, and its workers end when it ends.

Circus runs any program that a message on its control socket names. BentoML opens that socket on loopback TCP, where
every user of the machine can reach it, and has no option to open it elsewhere.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import cache, wraps
from typing import TYPE_CHECKING, Any

from core.processes import kill_when_parent_dies
from core.temporary import TemporaryFolder

if TYPE_CHECKING:
    from bentoml._internal.utils.circus import Arbiter
    from circus.watcher import Watcher

# The variable in the environment of workers with the supervisor's process id.
_SUPERVISOR = "PRODUCER_TWIN_SUPERVISOR"
_POLL_SECONDS = 1.0


@cache
def secure() -> None:
    """Secure this process, whether the supervisor or a worker. Called when a service is imported."""
    supervisor = os.environ.pop(_SUPERVISOR, None)
    if supervisor is None:
        _make_supervisor_private()
    else:
        end_with_parent(int(supervisor))


def end_with_parent(parent: int) -> None:
    """Kill this process once `parent`, a process id, is no longer its parent. Its own children live on."""
    kill_when_parent_dies()
    threading.Thread(target=_watch, args=(parent,), name="parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _make_supervisor_private() -> None:
    """Have BentoML's supervisors listen in a folder of mode 0700, and pass their process id to their workers."""
    from bentoml._internal.utils.circus import Arbiter

    initialise = Arbiter.__init__

    @wraps(initialise)
    def private(self: Arbiter, watchers: list[Watcher], **options: Any) -> None:
        folder = TemporaryFolder("supervisor")
        endpoints = {"endpoint": f"ipc://{folder.path}/control", "pubsub_endpoint": f"ipc://{folder.path}/events"}
        for watcher in watchers:
            watcher.env[_SUPERVISOR] = str(os.getpid())
        initialise(self, watchers, **options | endpoints)
        self.exit_stack.callback(folder.remove)

    Arbiter.__init__ = private  # type: ignore[method-assign]
