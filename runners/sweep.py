"""Forgets twins that storage no longer has: one that was deleted on another replica must not stay in our caches."""

from __future__ import annotations

import logging
import threading

from models import bento_store
from models.adapter_file import Header
from models.library import Library
from runners.adapters import Adapters
from storage import Storage, Unavailable

log = logging.getLogger("producer_twin.runner")

EVERY_SECONDS = 30.0


def sweep(storage: Storage, adapters: Adapters) -> None:
    """Once: memory, and this machine's Bento model store."""
    has = Library(storage).presence()

    def gone(header: Header) -> bool:
        return not has(header.producer_id, header.model_name, header.version)

    adapters.forget(gone)
    for kept in bento_store.kept():
        if not has(kept.producer_id, kept.model_name, kept.version):
            log.info("%s:%s was deleted elsewhere, and is forgotten here", kept.producer_id, kept.model_name)
            kept.remove()


def keep_swept(storage: Storage, adapters: Adapters) -> None:
    """For as long as the process lives, in a thread of its own."""

    def work() -> None:
        while True:
            threading.Event().wait(EVERY_SECONDS)
            try:
                sweep(storage, adapters)
            except Unavailable:
                continue
            except Exception:
                log.exception("the caches could not be swept")

    threading.Thread(target=work, name="sweep", daemon=True).start()
