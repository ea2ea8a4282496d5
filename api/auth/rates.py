"""How often somebody may ask: a token bucket each, in this process's memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from math import ceil

# So many askers are remembered; the one not heard of for longest is forgotten, which gives it a full bucket.
REMEMBERED = 10_000
_ROUNDING = 1e-6  # of a request; whoever waited as long as was said may ask


class Rates:
    """A bucket holds a minute's requests and fills steadily."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, who: str, per_minute: int) -> int:
        """0 if the request may pass, and is counted; else the seconds until one may."""
        now = self._clock()
        left, since = self._buckets.pop(who, (float(per_minute), now))
        left = min(float(per_minute), left + (now - since) * per_minute / 60)
        passes = left >= 1 - _ROUNDING
        self._buckets[who] = (max(0.0, left - passes), now)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        return 0 if passes else max(1, ceil((1 - left) * 60 / per_minute))
