"""What the Linux kernel can do for a process: end it with its parent, and show its name."""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


def kill_when_parent_dies() -> None:
    """Have the kernel kill this process when its parent ends, even if Python hangs. Does nothing except on Linux.

    A parent that ended before the call is not noticed: compare `os.getppid()` afterwards.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def set_name(name: str) -> None:
    """Set the name of this process that `ps` and `top` show, at most 15 bytes. Does nothing except on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode())
