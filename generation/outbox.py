"""Tracks that storage could not take when they were made: they wait on this machine's disk until it can."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote, unquote

from adapters.bento_store import home
from storage import Storage, Unavailable, keys
from storage.folder import os_errors, replacing

log = logging.getLogger("producer_twin.outbox")

# What may wait, in bytes; beyond, requests are refused.
LIMIT = 2**30
RETRY_SECONDS = 2.0


class Outbox:
    """What a process that ended left here is sent by the next one."""

    def __init__(self, storage: Storage, storage_url: str, folder: Path) -> None:
        self.storage = storage
        # Services with other storage may share this machine.
        self.folder = folder / sha256(storage_url.encode()).hexdigest()[:16]
        self._left = threading.Event()
        threading.Thread(target=self._work, name="outbox", daemon=True).start()
        if self._files():
            self._left.set()
        for path in self.damaged():
            log.error("%s is damaged and is left out; remove it", path)

    def put(self, key: str, data: bytes) -> None:
        """Store the object, now or as soon as storage can be reached.

        Raises:
            Unavailable: storage is full, or too much waits already.
        """
        # While something waits, storage is away: the next one need not find that out again.
        if not self._left.is_set():
            try:
                self.storage.put(key, data)
                return
            except Unavailable as error:
                if error.status != 503:
                    raise
                log.warning("%s waits: %s", key, error)
        if sum(path.stat().st_size for path in self._files()) + len(data) > LIMIT:
            raise Unavailable(503, "the storage cannot be reached, and too many tracks wait for it; try again later")
        with os_errors(key, writing=True), replacing(self._file(key)) as file:
            file.write(data)
        self._left.set()

    def waiting(self, key: str) -> Path | None:
        """The object's file, if it waits here."""
        path = self._file(key)
        return path if path.is_file() else None

    def _work(self) -> None:
        while True:
            self._left.wait()
            try:
                for path in self._files():
                    self.storage.put(unquote(path.name), path.read_bytes())
                    path.unlink(missing_ok=True)
                # Cleared before the last look, so that what came meanwhile is not forgotten.
                self._left.clear()
                if self._files():
                    self._left.set()
            except FileNotFoundError:
                continue  # another process of this service sent it
            except Exception as error:  # noqa: BLE001 - whatever it is, what waits must not be lost
                log.warning("tracks wait: %s", error)
                threading.Event().wait(RETRY_SECONDS)

    def _file(self, key: str) -> Path:
        return self.folder / quote(key, safe="")

    def damaged(self) -> list[Path]:
        """Files that no track is in, which are left where they are."""
        return [path for path in _visible(self.folder) if not _is_track(path)]

    def _files(self) -> list[Path]:
        return sorted(filter(_is_track, _visible(self.folder)))


def _is_track(path: Path) -> bool:
    """Whether the file has a key for its name, and something in it."""
    try:
        return keys.is_key(unquote(path.name)) and path.is_file() and path.stat().st_size > 0
    except FileNotFoundError:  # another process of this service sent it
        return False


def outbox_folder() -> Path:
    """Beside the Bento model store: on this machine, and there again after a restart."""
    return home() / "producer-twin-outbox"


def _visible(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if not path.name.startswith("."))
