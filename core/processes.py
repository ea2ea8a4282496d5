"""Ends child processes with their parent."""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def kill_when_parent_dies() -> None:
    """Have the kernel kill this process when its parent ends, even if Python hangs. Does nothing except on Linux.

    A parent that ended before the call is not noticed: compare `os.getppid()` afterwards.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
