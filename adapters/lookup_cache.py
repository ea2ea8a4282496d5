"""Results of lookups in the library, from which requests are answered while storage is unavailable."""

from __future__ import annotations

import threading
import time

from adapters.stored_adapter import StoredAdapter
from core.recent import Recent

_MAX_LOOKUPS = 4096
# After storage did not answer, lookups are answered from memory for this long before it is asked again.
_RETRY_SECONDS = 3.0


class LookupCache:
    """The latest result of each lookup by id, at most `_MAX_LOOKUPS`. Safe to share between threads."""

    def __init__(self) -> None:
        self._found = Recent[str, list[StoredAdapter]](_MAX_LOOKUPS)
        self._lock = threading.Lock()
        self._unavailable_until = 0.0

    @property
    def storage_is_unavailable(self) -> bool:
        """Whether storage did not answer within the last seconds."""
        return time.monotonic() < self._unavailable_until

    def note_unavailable(self) -> None:
        """Note that storage did not answer, so that the next requests do not wait for it."""
        self._unavailable_until = time.monotonic() + _RETRY_SECONDS

    def get(self, lora_id: str) -> list[StoredAdapter] | None:
        return self._found.get(lora_id)

    def put(self, lora_id: str, found: list[StoredAdapter]) -> None:
        with self._lock:
            self._found[lora_id] = found

    def forget(self, lora_id: str) -> None:
        """Forget a twin with all its versions, or, of an id `<twin>@<version>`, that version."""
        with self._lock:
            for name in [name for name in self._found if lora_id in (name, name.partition("@")[0])]:
                del self._found[name]
