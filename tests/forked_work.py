"""What tests let template processes load and their children do."""

from __future__ import annotations

import socket
import sys
import threading
import time


def load() -> None:
    """Prepare the template."""


def load_with_a_thread() -> None:
    """Prepare a template that cannot be forked."""
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()


def hang() -> None:
    """Prepare a template that never gets ready."""
    time.sleep(600)


def serve(client: socket.socket) -> int:
    """Return the number that the client sends as exit status."""
    return int(client.recv(16))


def modules() -> set[str]:
    """The names of the modules that this process has imported."""
    return set(sys.modules)
