"""Limits of requests under way: in all, and of one principal; streams have slots of their own."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence

from core.errors import Refusal
from core.settings import Settings

# Answers that last as long as their client likes, or as a training does.
_STREAMS = re.compile(
    r"/jobs/[^/]*/(events|previews/.*)|/queue/.*|/data/outputs/.*|/loras/.*/file|/train|/static_content/.*", re.DOTALL
)

# Seconds without a free slot after which the server is not ready.
_FULL_SECONDS = 10.0


class Slots:
    """A fixed number of slots. An asker never holds more than are left free, so that others find one.

    With one asker that is half of all; with `n` greedy ones each holds `1 / (n + 1)` (dynamic thresholds, as switches
    share their buffers: Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches").
    """

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.size = self.free = size
        self._clock = clock
        self._held: Counter[str] = Counter()
        self._full_since: float | None = None

    def take(self, askers: Sequence[str], most: int | None) -> bool:
        """Whether there was a slot.

        Args:
            askers: who it is for, from the widest group to the asker alone; it counts for each.
            most: what the last of `askers` may hold; None means as much as there is for one.
        """
        if any(self._held[asker] >= self.free for asker in askers):
            return False
        if most is not None and self._held[askers[-1]] >= most:
            return False
        self.free -= 1
        self._held.update(askers)
        if not self.free:
            self._full_since = self._clock()
        return True

    def give_back(self, askers: Sequence[str]) -> None:
        self.free += 1
        self._full_since = None
        for asker in askers:
            self._held[asker] -= 1
            if not self._held[asker]:
                del self._held[asker]

    def full_seconds(self) -> float:
        """For how long no slot has been free; 0 while one is."""
        return 0.0 if self._full_since is None else self._clock() - self._full_since


class RequestLimits:
    """The slots of this server's requests."""

    def __init__(self, settings: Settings) -> None:
        self._requests = Slots(settings.requests_at_once), settings.key_requests_at_once, "requests"
        self._streams = Slots(settings.streams_at_once), settings.key_streams_at_once, "streams and downloads"

    def take(self, path: str, askers: Sequence[str], limited: bool = True) -> Callable[[], None]:
        """A slot, and what gives it back, which may be called more than once.

        Args:
            limited: the asker has a limit of its own, and not only its share of the whole.

        Raises:
            Refusal: 429.
        """
        slots, most, what = self._streams if _STREAMS.fullmatch(path) else self._requests
        if not slots.take(askers, most if limited else None):
            raise Refusal(429, f"too many {what} at once; wait for one to end, or try again in some seconds")
        held = True

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                slots.give_back(askers)

        return give_back

    def fault(self) -> str | None:
        """Why no request can be served; None if one can."""
        seconds = self._requests[0].full_seconds()
        return f"there was no room for any request for {seconds:.0f} s" if seconds > _FULL_SECONDS else None
