"""How the code that works on a job learns that it must stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(BaseException):
    """Work on the job stops here. It derives from BaseException so that no `except Exception` catches it."""


class Stop:
    """A request to stop, made by a signal or by `request`. It takes effect at the next `check`."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._immediate = False

    def request(self) -> None:
        self._requested.set()

    @property
    def requested(self) -> bool:
        return self._requested.is_set()

    def check(self) -> None:
        """Raises `Stopped` if a stop was requested."""
        if self._requested.is_set():
            raise Stopped

    @contextmanager
    def immediate(self) -> Iterator[None]:
        """Within the block a signal raises `Stopped` at once: for work of which nothing has to be saved."""
        self._immediate = True
        try:
            self.check()
            yield
        finally:
            self._immediate = False

    def handle_signals(self) -> None:
        """Let SIGTERM and SIGINT request the stop. To be called in the main thread."""

        def handle(*_: object) -> None:
            self._requested.set()
            if self._immediate:
                self._immediate = False
                raise Stopped

        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)
