"""Rate limits: a token bucket for each asker, in this process's memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import ceil

from core.recent import Recent

# Beyond this number, the asker that has been idle for longest is forgotten. Its next bucket is full.
MAX_ASKERS = 10_000
# A request may pass after the seconds that `wait` returned, whatever the rounding.
_TOLERANCE = 1e-6


class Rates:
    """Token buckets, each of which holds a minute's requests and fills steadily."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets = Recent[str, tuple[float, float]](MAX_ASKERS)

    def wait(self, asker: str, per_minute: int) -> int:
        """Count a request: 0 if it may pass, otherwise the seconds until one may."""
        now = self._clock()
        left, since = self._buckets.get(asker, (float(per_minute), now))
        left = min(float(per_minute), left + (now - since) * per_minute / 60)
        passes = left >= 1 - _TOLERANCE
        self._buckets[asker] = (max(0.0, left - passes), now)
        return 0 if passes else max(1, ceil((1 - left) * 60 / per_minute))
