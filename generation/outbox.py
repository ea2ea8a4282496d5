"""The outbox: finished tracks that wait on the local disk while storage is unavailable."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from hashlib import sha256
from itertools import chain
from pathlib import Path
from urllib.parse import quote, unquote

from adapters.bento_store import home
from core.whole_files import replacing
from storage import Storage, Unavailable, keys
from storage.folder import locked, os_errors

log = logging.getLogger("producer_twin.outbox")

# The size of all waiting tracks; beyond it, requests are refused.
MAX_BYTES = 2**30
RETRY_SECONDS = 2.0


class Outbox:
    """Stores tracks, and retries in a thread while storage is unavailable. Waiting tracks survive a restart.

    Args:
        storage: where tracks are stored.
        storage_url: separates the outboxes of services that share this machine.
        folder: the parent folder of all outboxes.
    """

    def __init__(self, storage: Storage, storage_url: str, folder: Path) -> None:
        self.storage = storage
        self.folder = folder / sha256(storage_url.encode()).hexdigest()[:16]
        self._not_empty = threading.Event()
        threading.Thread(target=self._work, name="outbox", daemon=True).start()
        if self._files():
            self._not_empty.set()
        for path in self.damaged():
            log.error("%s is damaged and is not sent; remove it", path)

    def put(self, key: str, data: bytes) -> str | None:
        """Store the object, now or as soon as storage is available. Returns its etag; None if it waits.

        Raises:
            Unavailable: storage is full, or the outbox is.
        """
        # While any track waits, storage is unavailable, and trying it would delay this request.
        if not self._not_empty.is_set():
            try:
                return self.storage.put(key, data)
            except Unavailable as error:
                if error.status != 503:
                    raise
                log.warning("%s waits: %s", key, error)
        if sum(path.stat().st_size for path in self._files()) + len(data) > MAX_BYTES:
            raise Unavailable(503, "the storage cannot be reached, and too many tracks wait for it; try again later")
        with os_errors(key, writing=True), replacing(self._file(key)) as file:
            file.write(data)
        self._not_empty.set()
        return None

    def waiting(self, key: str) -> Path | None:
        """The object's file; `None` if it does not wait here."""
        path = self._file(key)
        return path if path.is_file() else None

    def waiting_keys(self) -> list[str]:
        """The keys of the objects that wait."""
        return [_key(path) for path in self._files()]

    def delete(self, key: str) -> bool:
        """Delete the object from storage, and where it waits. Returns whether it existed. Raises Unavailable."""
        path = self.waiting(key)
        if path is None:
            return self.storage.delete(key)
        with locked(self.folder, key):  # otherwise it could be sent after it was deleted
            is_stored, is_waiting = self.storage.delete(key), path.exists()
            path.unlink(missing_ok=True)
            return is_stored or is_waiting

    def _work(self) -> None:
        while True:
            self._not_empty.wait()
            try:
                for path in self._files():
                    self._send(path)
                # Cleared before the check, so that a track that comes meanwhile is not missed.
                self._not_empty.clear()
                if self._files():
                    self._not_empty.set()
            except FileNotFoundError:
                continue  # another process of this service sent it
            except Exception as error:  # noqa: BLE001 - after any error, the tracks are tried again
                log.warning("tracks wait: %s", error)
                threading.Event().wait(RETRY_SECONDS)

    def _send(self, path: Path) -> None:
        key = _key(path)
        with locked(self.folder, key):
            data = path.read_bytes()
            if self._has_track(key):
                self.storage.put(key, data)
            else:
                log.info("%s is not sent, since its track was deleted", key)
            path.unlink(missing_ok=True)

    def _has_track(self, key: str) -> bool:
        """False for what goes with a track that was sent, and deleted by another replica since."""
        track = keys.track_of_companion(key)
        if track is None:
            return True
        waiting = (each for each in self.waiting_keys() if each.startswith(track))
        return any(map(keys.track_id, chain(waiting, (entry.key for entry in self.storage.list(track)))))

    def _file(self, key: str) -> Path:
        return self.folder / quote(key, safe="")

    def damaged(self) -> list[Path]:
        """Files that hold no track; they are neither sent nor removed."""
        return [path for path in _visible(self.folder) if not _is_track(path)]

    def _files(self) -> list[Path]:
        return sorted(filter(_is_track, _visible(self.folder)))


def _is_track(path: Path) -> bool:
    """Whether the file's name is a storage key, and the file is not empty."""
    try:
        return keys.is_key(_key(path)) and path.is_file() and path.stat().st_size > 0
    except FileNotFoundError:  # another process of this service sent it
        return False


def _key(path: Path) -> str:
    return unquote(path.name)


def outbox_folder() -> Path:
    """Next to the Bento model store, which is on this machine's disk and survives a restart."""
    return home() / "producer-twin-outbox"


def _visible(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if not path.name.startswith("."))
