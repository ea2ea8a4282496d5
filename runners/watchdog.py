"""Detects work on the model that hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Work may take this many times as long as expected.
MAX_EXPECTED_RATIO = 20.0


class Watchdog:
    """Watches one thread from another one.

    Args:
        min_timeout: seconds that any work may take.
        expected_seconds: returns how long the current work should take; 0 if unknown.
        on_hang: called once, with the reason.
    """

    def __init__(
        self, min_timeout: float, expected_seconds: Callable[[], float], on_hang: Callable[[str], None]
    ) -> None:
        self._min_timeout, self._expected_seconds, self._on_hang = min_timeout, expected_seconds, on_hang
        self._current: object = None
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Work that has to end in time."""
        self._current = object()
        try:
            yield
        finally:
            self._current = None

    def _watch(self) -> None:
        """Count ticks rather than read the clock, so that a suspended process does not count as hanging."""
        tick, ticks, seen = min(1.0, self._min_timeout / 4), 0, None
        while True:
            time.sleep(tick)
            if self._current is None or self._current is not seen:
                seen, ticks = self._current, 0
                continue
            ticks += 1
            if ticks * tick > max(self._min_timeout, MAX_EXPECTED_RATIO * self._expected_seconds()):
                self._on_hang(f"a step of its model did not end within {ticks * tick:.0f} s")
                return
