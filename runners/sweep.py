"""Forgets twins that storage no longer has: one that was deleted on another replica must not stay in our caches."""

from __future__ import annotations

import logging
import threading
import time

from adapters import bento_store
from adapters.adapter_file import Header
from adapters.library import Library
from runners.adapter_cache import Adapters
from storage import Storage, Unavailable, keys

log = logging.getLogger("producer_twin.runner")

EVERY_SECONDS = 30.0
# All twins are listed after a deletion; and so often for what somebody removed from storage by hand.
_ANYHOW_SECONDS = 3600.0


class Sweeper:
    """Asks one object whether anything was deleted since: listing ten thousand twins takes seconds of a core."""

    def __init__(self, storage: Storage, adapters: Adapters) -> None:
        self._storage, self._adapters = storage, adapters
        self._deletion: str | None = None
        self._swept = float("-inf")

    def look(self) -> bool:
        """Forget what is gone, if there is reason to look for it; whether there was."""
        latest = self._storage.stat(keys.lora_deletions())
        deletion = latest.etag if latest else None
        if deletion == self._deletion and time.monotonic() - self._swept < _ANYHOW_SECONDS:
            return False
        self._sweep()
        self._deletion, self._swept = deletion, time.monotonic()
        return True

    def _sweep(self) -> None:
        """Memory, and this machine's Bento model store."""
        has = Library(self._storage).presence()

        def gone(header: Header) -> bool:
            return not has(header.producer_id, header.model_name, header.version)

        self._adapters.forget(gone)
        for kept in bento_store.cached_versions():
            if not has(kept.producer_id, kept.model_name, kept.version):
                log.info("%s:%s was deleted elsewhere, and is forgotten here", kept.producer_id, kept.model_name)
                kept.remove()


def keep_swept(storage: Storage, adapters: Adapters) -> None:
    """For as long as the process lives, in a thread of its own."""
    sweeper = Sweeper(storage, adapters)

    def work() -> None:
        while True:
            threading.Event().wait(EVERY_SECONDS)
            try:
                sweeper.look()
            except Unavailable:
                continue
            except Exception:
                log.exception("the caches could not be swept")

    threading.Thread(target=work, name="sweep", daemon=True).start()
