"""Calls of the sandbox for requests: a few at once, and fewer of one principal, so that nobody waits long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from api.capacity.gate import Gate
from core.sandbox import Limits, Sandbox

T = TypeVar("T")


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
