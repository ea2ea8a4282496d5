"""Threads for what must go on whatever else the server does: access to the keys, and records.

The default pool of asyncio is for slow work (uploads, encoding, conversion), which can fill it.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

ACCESS = ThreadPoolExecutor(2, "access")
RECORDS = ThreadPoolExecutor(16, "records")


async def to_record_thread(call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Like `asyncio.to_thread`, in the pool for short reads and writes of records."""
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(RECORDS, partial(context.run, call, *args, **options))  # type: ignore[arg-type]
