"""Full disks."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import Refusal

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def temporary_space() -> Iterator[None]:
    """Raise Refusal (507) if the disk is full while the block writes temporary files."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise Refusal(507, "the server's disk for temporary files is full; try again later") from error
        raise
