"""Detects a blocked event loop or thread pool: an empty task is timed in each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor

_BEAT_SECONDS = 1.0
# A loop or pool in which an empty task takes longer than this keeps clients waiting.
PATIENCE_SECONDS = 10.0


class Liveness:
    """Whether this process can serve. It starts to measure at the first call of `fault`, in the running event loop.

    Args:
        pools: thread pools by their purpose, as the message names them.
        patience: seconds that an empty task may take.
    """

    def __init__(self, pools: Mapping[str, Executor], patience: float = PATIENCE_SECONDS) -> None:
        self.patience = patience
        self._pools = pools
        self._late = 0.0
        self._waiting: dict[str, tuple[float, asyncio.Future[None]]] = {}
        self._task: asyncio.Task[None] | None = None

    def fault(self) -> str | None:
        """Why this process cannot serve; None if it can."""
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._beat())
        if self._late > self.patience:
            return f"its event loop was blocked for {self._late:.0f} s"
        for name, (since, waiting) in self._waiting.items():
            if not waiting.done() and (seconds := loop.time() - since) > self.patience:
                return f"its threads for {name} have been busy for {seconds:.0f} s"
        return None

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for name, pool in self._pools.items():
                if name not in self._waiting or self._waiting[name][1].done():
                    self._waiting[name] = loop.time(), loop.run_in_executor(pool, _nothing)
            start = loop.time()
            await asyncio.sleep(_BEAT_SECONDS)
            self._late = loop.time() - start - _BEAT_SECONDS


def _nothing() -> None:
    """The empty task."""
