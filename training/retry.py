"""Retrying writes while storage is unavailable."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from storage.retrying import retry

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
    return retry(write, MAX_SECONDS, _PAUSE_SECONDS, log=log)
