"""Parsing of clients' files in the sandbox, with a limit on concurrent calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from core.gate import Gate
from core.sandbox import Limits, Sandbox

T = TypeVar("T")


class Parser:
    """A sandbox with limits for one kind of work. Few calls run at once, and fewer of one principal (see `Gate`)."""

    def __init__(self, sandbox: Sandbox, limits: Limits, at_once: int, each: int) -> None:
        self._sandbox = sandbox
        self.limits = limits
        self.at_once, self.each = at_once, each
        self._gate = Gate(at_once, each)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run the function in the sandbox once a slot is free. Cancelling ends it, as when the client disconnects."""
        async with self._gate.slot():
            return await self._sandbox.run(self.limits, function, *arguments)
