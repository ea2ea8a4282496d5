"""Calls of the sandbox for requests: a few at once, and fewer of one principal, so that nobody waits long."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from core.sandbox import Limits, Sandbox
from edge import access

T = TypeVar("T")


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
        principal = access.principal().askers[-1]
        own = self._own.setdefault(principal, asyncio.Semaphore(self._each))
        self._present[principal] += 1
        try:
            async with own, self._all:
                yield
        finally:
            self._present[principal] -= 1
            if not self._present[principal]:
                del self._present[principal], self._own[principal]


class Parser:
    """A sandbox with its limits for one kind of work, behind a gate."""

    def __init__(self, sandbox: Sandbox, limits: Limits, at_once: int, each: int) -> None:
        self._sandbox = sandbox
        self.limits = limits
        self.at_once, self.each = at_once, each
        self._gate = Gate(at_once, each)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """As `Sandbox.run`, when there is a place. Cancelling it, as the client's leaving does, ends the work."""
        async with self._gate.place():
            return await self._sandbox.run(self.limits, function, *arguments)
