"""Notices when a stretch of the model's work does not end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# How many times as long as is expected a stretch of work may take.
TIMES = 20.0


class Watchdog:
    """Watches one thread from another.

    Args:
        least: seconds that any stretch of work may take.
        expected: how many seconds the step takes that the stretch is of; 0 where that is not known.
        bark: called once, with a sentence.
    """

    def __init__(self, least: float, expected: Callable[[], float], bark: Callable[[str], None]) -> None:
        self._least, self._expected, self._bark = least, expected, bark
        self._stretch: object = None
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    @contextmanager
    def stretch(self) -> Iterator[None]:
        """Work that is to end: a layer of a step, a token."""
        self._stretch = object()
        try:
            yield
        finally:
            self._stretch = None

    def _watch(self) -> None:
        """By ticks rather than by the clock: while the whole process stands still, nothing hangs."""
        tick, ticks, seen = min(1.0, self._least / 4), 0, None
        while True:
            time.sleep(tick)
            if self._stretch is None or self._stretch is not seen:
                seen, ticks = self._stretch, 0
                continue
            ticks += 1
            if ticks * tick > max(self._least, TIMES * self._expected()):
                self._bark(f"a step of its model did not end within {ticks * tick:.0f} s")
                return
