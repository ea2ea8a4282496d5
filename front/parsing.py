"""Calls of the sandbox on behalf of a request: few at once, and fewer for one principal, so that nobody waits long."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from core.sandbox import Limits, Sandbox
from edge import access

T = TypeVar("T")


class Parser:
    """A sandbox with its limits for one kind of work.

    Args:
        at_once: calls under way at most.
        each: calls under way of one principal at most; its others wait without taking a place from anybody else.
    """

    def __init__(self, sandbox: Sandbox, limits: Limits, at_once: int, each: int) -> None:
        self._sandbox = sandbox
        self._limits = limits
        self._each = each
        self._all = asyncio.Semaphore(at_once)
        self._own: dict[str, asyncio.Semaphore] = {}
        self._present: Counter[str] = Counter()

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """As `Sandbox.run`, when there is a place. Cancelling it, as the client's leaving does, ends the work."""
        async with self._place(access.principal().name), self._all:
            return await self._sandbox.run(self._limits, function, *arguments)

    @asynccontextmanager
    async def _place(self, principal: str) -> AsyncIterator[None]:
        own = self._own.setdefault(principal, asyncio.Semaphore(self._each))
        self._present[principal] += 1
        try:
            async with own:
                yield
        finally:
            self._present[principal] -= 1
            if not self._present[principal]:
                del self._present[principal], self._own[principal]
