"""Work that takes much of what the process has: few at once, and fewer for one principal, so that nobody waits long."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core import principal


class Gate:
    """Lets a few through at once.

    Args:
        at_once: places in all.
        each: places of one principal; its others wait without taking a place from anybody else.
    """

    def __init__(self, at_once: int, each: int) -> None:
        self._each = each
        self._all = asyncio.Semaphore(at_once)
        self._own: dict[str, asyncio.Semaphore] = {}
        self._present: Counter[str] = Counter()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place of the principal of this request, once there is one."""
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
