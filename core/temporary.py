"""Folders for temporary files. Those of processes that were killed are removed by a process that lives."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
import threading
import time
import weakref
from contextlib import AbstractContextManager
from pathlib import Path

log = logging.getLogger("producer_twin.temporary")

_PREFIX = "producer-twin-"
_SWEEP_SECONDS = 3600.0
# Longer than it takes from making a folder to locking it.
_MIN_AGE_SECONDS = 60.0


class TemporaryFolder(AbstractContextManager[Path]):
    """A new folder. It is removed at the end of the block, with this object, or with this process.

    It is locked as long as the process lives: the operating system releases the lock of one that is killed.

    Args:
        purpose: a word for people who find the folder.

    Attributes:
        path: of the folder.
    """

    def __init__(self, purpose: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{purpose}-"))
        lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        self._remove = weakref.finalize(self, _remove, self.path, lock)

    def remove(self) -> None:
        self._remove()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *error: object) -> None:
        self.remove()


def _remove(path: Path, lock: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.close(lock)


def start_sweeping() -> None:
    """Remove the folders of processes that have ended, now and every hour, in a daemon thread."""

    def work() -> None:
        while True:
            try:
                if count := sweep():
                    log.info("%d temporary folders of processes that have ended were removed", count)
            except OSError as error:
                log.warning("temporary folders of processes that have ended are not removed: %s", error)
            time.sleep(_SWEEP_SECONDS)

    threading.Thread(target=work, name="temporary folders", daemon=True).start()


def sweep() -> int:
    """Remove the folders of processes that have ended. Returns their number."""
    return sum(_is_removed(path) for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/"))


def _is_removed(path: Path) -> bool:
    """Remove the folder, unless its process lives, or it is another user's. Returns whether it was removed."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # it was removed meanwhile, or is another user's
        return False
    try:
        status = os.fstat(lock)
        if status.st_uid != os.geteuid() or time.time() - status.st_mtime < _MIN_AGE_SECONDS:
            return False
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
