"""What a lookup found last, for while storage cannot be reached."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

from adapters.stored_adapter import StoredAdapter

_MAX_REMEMBERED = 4096
# How long lookups are answered from memory after storage did not answer, before it is asked again.
_RETRY_SECONDS = 3.0


class LastFound:
    """The latest result of each lookup by id, at most `_MAX_REMEMBERED`. Safe to share between threads."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, list[StoredAdapter]] = OrderedDict()
        self._lock = threading.Lock()
        self._away_until = 0.0

    @property
    def storage_is_away(self) -> bool:
        """Whether storage did not answer within the last seconds."""
        return time.monotonic() < self._away_until

    def note_away(self) -> None:
        """Storage did not answer: spare the next requests the wait."""
        self._away_until = time.monotonic() + _RETRY_SECONDS

    def get(self, lora_id: str) -> list[StoredAdapter] | None:
        return self._found.get(lora_id)

    def put(self, lora_id: str, found: list[StoredAdapter]) -> None:
        with self._lock:
            self._found[lora_id] = found
            self._found.move_to_end(lora_id)
            while len(self._found) > _MAX_REMEMBERED:
                self._found.popitem(last=False)

    def forget(self, lora_id: str) -> None:
        """Forget a twin with all its versions, or, of an id `<twin>@<version>`, that version."""
        with self._lock:
            for name in [name for name in self._found if lora_id in (name, name.partition("@")[0])]:
                del self._found[name]
