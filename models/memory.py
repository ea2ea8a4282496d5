"""What the C library does with memory that tensors leave.

glibc gives large blocks back to the kernel as soon as they are free, and has the next ones cleared anew, page by page:
a forward pass on a CPU pays for that in each of its layers. So it is told to keep them while there is work, and to
give them back when there is none. Other C libraries are left as they are.
"""

from __future__ import annotations

import ctypes
from functools import cache

# mallopt(3)
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_MOST = 2**31 - 1


def keep() -> None:
    """Keep what is free for what comes next. Call it before the threads start that are to share it."""
    libc = _glibc()
    if libc is None:
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _MOST)
    libc.mallopt(_ARENA_MAX, 1)  # a thread's own heaps are of 64 MB at most, and end when they are empty


def give_back() -> None:
    """To the kernel, whatever is free."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - which others lack
    except (AttributeError, OSError, TypeError):
        return None
    return libc
