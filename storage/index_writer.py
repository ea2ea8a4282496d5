"""Writes the index of records behind the requests that read or write the records."""

from __future__ import annotations

import logging
import threading

from storage.base import Unavailable
from storage.record_index import Copy, RecordIndex

log = logging.getLogger("producer_twin.storage")

# Copies that come within this time are written at once.
PAUSE_SECONDS = 1.0


class IndexWriter:
    """Adds copies to an index in a thread. Those that are lost when the process ends are added by a reader again."""

    def __init__(self, index: RecordIndex) -> None:
        self._index = index
        self._waiting: dict[str, Copy] = {}
        self._lock = threading.Lock()
        self._written = threading.Lock()
        self._not_empty = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, key: str, copy: Copy) -> None:
        """Add the copy of a record soon."""
        with self._lock:
            self._waiting[key] = copy
            self._not_empty.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="record-index", daemon=True)
                self._thread.start()

    def discard(self, key: str) -> None:
        """Remove the copy of a record that was deleted, now. Storage that is away is left to a sweep."""
        with self._written:
            with self._lock:
                self._waiting.pop(key, None)
            try:
                self._index.discard([key])
            except Unavailable as error:
                log.warning("the index keeps a deleted record for an hour: %s", error)

    def flush(self) -> None:
        """Write what waits. Raises Unavailable."""
        with self._written:
            with self._lock:
                waiting, self._waiting = self._waiting, {}
                self._not_empty.clear()
            self._index.put(waiting)

    def _work(self) -> None:
        while True:
            self._not_empty.wait()
            threading.Event().wait(PAUSE_SECONDS)
            try:
                self.flush()
            except Exception as error:  # noqa: BLE001 - readers do without, and add them again
                log.warning("the index of records was not written: %s", error)
