"""The settings of glibc's malloc: whether freed memory is kept or returned to the kernel.

By default glibc returns large freed blocks to the kernel at once, and the kernel clears the pages of the next ones: on
a CPU each layer of a forward pass pays for that. A runner tells glibc to keep freed memory while there is work, and to
return it when there is none. With other C libraries nothing is changed.
"""

from __future__ import annotations

import ctypes
from functools import cache

# mallopt(3)
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_MAX_INT = 2**31 - 1


def keep_freed_memory() -> None:
    """Keep freed memory for later allocations. Call it before starting the threads that are to share one heap."""
    libc = _glibc()
    if libc is None:
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _MAX_INT)
    libc.mallopt(_ARENA_MAX, 1)  # heaps of single threads are 64 MB at most, and are returned when empty


def trim() -> None:
    """Return freed memory to the kernel."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - other C libraries lack it
    except (AttributeError, OSError, TypeError):
        return None
    return libc
