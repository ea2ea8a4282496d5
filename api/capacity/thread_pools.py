"""Thread pools. API keys and records have pools of their own, which slow work cannot fill.

`SLOW` is asyncio's default pool (`asyncio.to_thread`): uploads, encoding, conversion.
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

SLOW = ThreadPoolExecutor(32, "slow")
ACCESS = ThreadPoolExecutor(2, "access")
RECORDS = ThreadPoolExecutor(16, "records")


async def to_record_thread(call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """`asyncio.to_thread` in the pool for short reads and writes of records."""
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(RECORDS, partial(context.run, call, *args, **options))  # type: ignore[arg-type]
