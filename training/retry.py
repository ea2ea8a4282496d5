"""Retrying writes while storage is unavailable."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from storage import Unavailable

log = logging.getLogger("producer_twin.training")

T = TypeVar("T")

# How long storage may be unavailable before the result of a training is given up.
MAX_SECONDS = 900.0
_PAUSE_SECONDS = 5.0


def retry_unavailable(write: Callable[[], T]) -> T:
    """Call `write` until storage is available, for a result that took long to compute.

    Raises:
        Unavailable: storage was unavailable for `MAX_SECONDS`.
    """
    end = time.monotonic() + MAX_SECONDS
    while True:
        try:
            return write()
        except Unavailable as error:
            if time.monotonic() > end:
                raise
            log.warning("%s; trying again", error)
            time.sleep(_PAUSE_SECONDS)
