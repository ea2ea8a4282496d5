"""The lease of a process, which shows that it lives. Other processes take over the work of a process that has ended.

It is a lease (storage.leases) that no other process acquires. A process that is killed stops renewing it.
"""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import ExitStack

from storage import leases, work_keys
from storage.base import NotFound, Storage, Unavailable


class ProcessLease:
    """The lease of this process.

    Attributes:
        name: of this process; the work that it takes names it.
    """

    def __init__(self, storage: Storage) -> None:
        self.name = uuid.uuid4().hex
        self._storage = storage
        self._lock = threading.Lock()
        self._held = ExitStack()
        self._is_held = False

    def hold(self) -> str:
        """Hold the lease from the first call on, until `close`, and return its name. Raises Unavailable."""
        with self._lock:
            if not self._is_held:
                self._held.enter_context(leases.lease(self._storage, work_keys.process_lease(self.name), self.name))
                self._is_held = True
        return self.name

    def close(self) -> None:
        """Release the lease: other processes take over the work at once."""
        with self._lock:
            self._held.close()
            self._is_held = False


class LivingProcesses:
    """Tells whether processes live, by watching their leases.

    Args:
        own: this process, which lives.
    """

    def __init__(self, storage: Storage, own: ProcessLease) -> None:
        self._storage = storage
        self._own = own
        self._seen: dict[str, tuple[str, float]] = {}

    def lives(self, process: str) -> bool:
        """Whether the process holds its lease, and renewed it within `leases.EXPIRY`. Raises Unavailable."""
        if process == self._own.name:
            return True
        try:
            content, etag = leases.read(self._storage, work_keys.process_lease(process))
        except NotFound:
            return False
        except Unavailable:
            self._seen.clear()  # the process cannot renew it either
            raise
        if not leases.is_claim(content):
            return False
        known, since = self._seen.get(process, ("", 0.0))
        if known != etag:
            since = time.monotonic()
            self._seen[process] = etag, since
        return time.monotonic() - since <= leases.EXPIRY
