"""Storage for long work, such as training: it waits while the storage cannot be reached, instead of failing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from storage.base import Entry, Storage, Unavailable

log = logging.getLogger("producer_twin.storage")

T = TypeVar("T")

RETRY_SECONDS = 2.0


def retry(
    call: Callable[[], T],
    seconds: float,
    pause: float,
    may_pass: Callable[[Unavailable], bool] = lambda error: True,
    log: logging.Logger = log,
) -> T:
    """Repeat `call`, every `pause` seconds, while it raises `Unavailable`.

    Args:
        seconds: how long it is repeated.
        may_pass: whether an error may pass by itself; any other is raised at once.
        log: gets a warning for each error.

    Raises:
        Unavailable: the last error.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            return call()
        except Unavailable as error:
            if not may_pass(error) or time.monotonic() > end:
                raise
            log.warning("%s; trying again", error)
            time.sleep(pause)


class RetryingStorage:
    """Repeats each call of another storage while it raises `Unavailable` with 503.

    Args:
        storage: the storage that does the work.
        seconds: how long a call is repeated before its error is raised.
    """

    def __init__(self, storage: Storage, seconds: float) -> None:
        self._storage = storage
        self._seconds = seconds

    def _retry(self, call: Callable[[], T]) -> T:
        return retry(call, self._seconds, RETRY_SECONDS, lambda error: error.status == 503)

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        return self._retry(lambda: self._storage.put(key, data, if_absent=if_absent, if_match=if_match))

    def put_file(self, key: str, source: Path | BinaryIO, *, if_absent: bool = False) -> str:
        return self._retry(lambda: self._storage.put_file(key, source, if_absent=if_absent))

    def get(self, key: str) -> bytes:
        return self._retry(lambda: self._storage.get(key))

    def get_with_etag(self, key: str, max_bytes: int | None = None) -> tuple[bytes, str]:
        return self._retry(lambda: self._storage.get_with_etag(key, max_bytes))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        return self._retry(lambda: self._storage.get_range(key, start, length))

    def get_file(self, key: str, path: Path) -> None:
        self._retry(lambda: self._storage.get_file(key, path))

    def stat(self, key: str) -> Entry | None:
        return self._retry(lambda: self._storage.stat(key))

    def list(self, prefix: str, after: str = "", limit: int | None = None) -> Iterator[Entry]:
        return iter(self._retry(lambda: [*self._storage.list(prefix, after, limit)]))

    def holds(self, prefix: str) -> bool:
        return self._retry(lambda: self._storage.holds(prefix))

    def delete(self, key: str) -> bool:
        return self._retry(lambda: self._storage.delete(key))

    def local(self, key: str) -> Path | None:
        return self._storage.local(key)

    def link(self, key: str, seconds: int, media_type: str) -> str | None:
        return self._storage.link(key, seconds, media_type)

    def upload_link(self, key: str, seconds: int, size: int) -> tuple[str, dict[str, str]] | None:
        return self._storage.upload_link(key, seconds, size)

    def tidy(self, seconds: float) -> int:
        return self._storage.tidy(seconds)
