"""Drops cached adapters that were deleted from storage, such as by another replica."""

from __future__ import annotations

import logging
import threading
import time

from adapters import bento_store
from adapters.adapter_file import Header
from adapters.library import Library
from runners.adapter_cache import AdapterCache
from storage import Storage, Unavailable, keys

log = logging.getLogger("producer_twin.runner")

INTERVAL_SECONDS = 30.0
# Twins that were removed from storage by hand leave no mark of a deletion, so all are listed this often as well.
_FULL_SWEEP_SECONDS = 3600.0


class Sweeper:
    """Sweeps when the mark of the latest deletion has changed, since listing ten thousand twins takes seconds."""

    def __init__(self, storage: Storage, adapters: AdapterCache) -> None:
        self._storage, self._adapters = storage, adapters
        self._deletion: str | None = None
        self._swept_at = float("-inf")

    def sweep_if_needed(self) -> bool:
        """Sweep if anything was deleted since, or the last sweep is long ago; whether it did."""
        latest = self._storage.stat(keys.lora_deletions())
        deletion = latest.etag if latest else None
        if deletion == self._deletion and time.monotonic() - self._swept_at < _FULL_SWEEP_SECONDS:
            return False
        self._sweep()
        self._deletion, self._swept_at = deletion, time.monotonic()
        return True

    def _sweep(self) -> None:
        has = Library(self._storage).presence()

        def gone(header: Header) -> bool:
            return not has(header.producer_id, header.model_name, header.version)

        self._adapters.forget(gone)
        for kept in bento_store.cached_versions():
            if not has(kept.producer_id, kept.model_name, kept.version):
                log.info("%s:%s was deleted from storage, and is removed here", kept.producer_id, kept.model_name)
                kept.delete()


def start_sweeping(storage: Storage, adapters: AdapterCache) -> None:
    """Sweep in a thread for as long as the process lives."""
    sweeper = Sweeper(storage, adapters)

    def work() -> None:
        while True:
            threading.Event().wait(INTERVAL_SECONDS)
            try:
                sweeper.sweep_if_needed()
            except Unavailable:
                continue
            except Exception:
                log.exception("the caches could not be swept")

    threading.Thread(target=work, name="sweep", daemon=True).start()
