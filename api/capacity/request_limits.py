"""Limits on concurrent requests, of the server and of each principal. Streams are counted separately."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

from core.errors import Refusal
from core.settings import Settings

# The server is not ready once no slot has been free for this time.
_FULL_SECONDS = 10.0


class Slots:
    """A fixed number of slots. An asker never holds more slots than are free, so that others find one.

    One asker can hold half of them; each of `n` greedy askers holds `1 / (n + 1)` (Choudhury and Hahne, "Dynamic queue
    length thresholds for shared-memory packet switches").
    """

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.size = self.free = size
        self._clock = clock
        self._held: Counter[str] = Counter()
        self._full_since: float | None = None

    def take(self, askers: Sequence[str], limit: int | None) -> bool:
        """Take a slot; False if there is none.

        Args:
            askers: the names under which it counts, from the widest group to the asker alone.
            limit: slots that the last of `askers` may hold; None means no limit of its own.
        """
        if any(self._held[asker] >= self.free for asker in askers):
            return False
        if limit is not None and self._held[askers[-1]] >= limit:
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
        """Seconds since the last slot was taken; 0 while one is free."""
        return 0.0 if self._full_since is None else self._clock() - self._full_since


class RequestLimits:
    """The slots of this server: for requests, and for streams and downloads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._requests, self._streams = Slots(settings.requests_at_once), Slots(settings.streams_at_once)

    def take(self, stream: bool, askers: Sequence[str], limited: bool = True) -> Callable[[], None]:
        """Take a slot, and return a function that gives it back, which may be called more than once.

        Args:
            stream: take a slot for streams and downloads, whose duration is up to the client.
            limited: whether the limit of one asker applies, besides the asker's share of all slots.

        Raises:
            Refusal: 429.
        """
        if stream:
            slots, limit, kind = self._streams, self._settings.key_streams_at_once, "streams and downloads"
        else:
            slots, limit, kind = self._requests, self._settings.key_requests_at_once, "requests"
        if not slots.take(askers, limit if limited else None):
            raise Refusal(429, f"too many {kind} at once; wait for one to end, or try again in some seconds")
        held = True

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                slots.give_back(askers)

        return give_back

    def fault(self) -> str | None:
        """Why requests cannot be served; None if they can."""
        seconds = self._requests.full_seconds()
        return f"there was no free slot for requests for {seconds:.0f} s" if seconds > _FULL_SECONDS else None
