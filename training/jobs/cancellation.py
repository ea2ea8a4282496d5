"""How whoever works on a job learns that it should stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(BaseException):
    """Work ends here. Like KeyboardInterrupt it is no `Exception`, so that nothing on the way mistakes it for one."""


class Stop:
    """A wish that work ends, by a signal or by `ask`, which is heard at the next `check`."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._at_once = False

    def ask(self) -> None:
        self._asked.set()

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def check(self) -> None:
        """Raises `Stopped` if work is to end."""
        if self._asked.is_set():
            raise Stopped

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within the context a signal does not wait for a check: for work of which nothing need be saved."""
        self._at_once = True
        try:
            self.check()
            yield
        finally:
            self._at_once = False

    def listen(self) -> None:
        """Hear SIGTERM and SIGINT. For the main thread."""

        def hear(*_: object) -> None:
            self._asked.set()
            if self._at_once:
                self._at_once = False
                raise Stopped

        signal.signal(signal.SIGTERM, hear)
        signal.signal(signal.SIGINT, hear)
