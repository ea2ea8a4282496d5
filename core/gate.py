"""Limits the expensive work that runs at once, of all principals and of each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core import principal


class Gate:
    """A semaphore with slots for all principals, of which each may hold some.

    Args:
        at_once: the number of slots.
        each: the number that one principal may hold. Its further work waits without a slot.
    """

    def __init__(self, at_once: int, each: int) -> None:
        self._each = each
        self._all = asyncio.Semaphore(at_once)
        self._own: dict[str, asyncio.Semaphore] = {}
        self._present: Counter[str] = Counter()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot for the current principal, and hold it inside the block."""
        asker = principal.current().askers[-1]
        own = self._own.setdefault(asker, asyncio.Semaphore(self._each))
        self._present[asker] += 1
        try:
            async with own, self._all:
                yield
        finally:
            self._present[asker] -= 1
            if not self._present[asker]:
                del self._present[asker], self._own[asker]
