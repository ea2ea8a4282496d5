"""Taking turns at what cannot be written in one go, such as two objects that belong together.

Whose turn it is, is said by one object, which is taken and given back by conditional writes, and renewed while its
owner lives; one that is not renewed for EXPIRY was left by a process that died, and is taken over.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from core import plain_json
from storage.base import AlreadyExists, Changed, Damaged, NotFound, Storage, Unavailable

POLL = 0.2  # seconds
RENEW = 5.0
EXPIRY = 30.0


class Lost(Exception):
    """Somebody else has the turn now."""


@contextmanager
def turn(storage: Storage, key: str, who: str) -> Iterator[Callable[[], None]]:
    """Wait for the turn and hold it. Yields a function that raises Lost once it is somebody else's."""
    etag = _take(storage, key, who)
    stop, lost = threading.Event(), threading.Event()

    def renew() -> None:
        nonlocal etag
        while not stop.wait(RENEW):
            try:
                etag = storage.put(key, _claim(who), if_match=etag)
            except Changed:
                lost.set()
                return
            except Unavailable:
                continue  # the next one may succeed before EXPIRY; the work itself meets the same trouble

    def check() -> None:
        if lost.is_set():
            raise Lost

    renewer = threading.Thread(target=renew, daemon=True)
    renewer.start()
    try:
        yield check
    finally:
        stop.set()
        renewer.join()
        # A turn that cannot be given back expires.
        with suppress(Changed, Unavailable):
            storage.put(key, b"null", if_match=etag)


def _take(storage: Storage, key: str, who: str) -> str:
    """Wait until the turn is free, or has not been renewed for EXPIRY as seen from here; return its etag."""
    seen, since = "", 0.0
    while True:
        try:
            content, etag = _claimed(storage, key)
        except NotFound:
            try:
                return storage.put(key, _claim(who), if_absent=True)
            except AlreadyExists:
                continue
        if etag != seen:
            seen, since = etag, time.monotonic()
        if not _is_claim(content) or time.monotonic() - since > EXPIRY:
            try:
                return storage.put(key, _claim(who), if_match=etag)
            except Changed:
                continue
        time.sleep(POLL)


def _claimed(storage: Storage, key: str) -> tuple[bytes, str]:
    """What says who has the turn, nothing where it is damaged, and its etag. Raises NotFound."""
    try:
        return storage.get_with_etag(key)
    except Damaged:
        entry = storage.stat(key)
        if entry is None:
            raise NotFound(key) from None
        return b"", entry.etag


def _is_claim(content: bytes) -> bool:
    """Whether somebody has the turn. Who had one that was damaged finds out with the next renewal."""
    try:
        return "token" in plain_json.decode_object(content)
    except ValueError:
        return False


def _claim(who: str) -> bytes:
    # Never the same twice, so that a renewal is seen.
    return json.dumps({"by": who, "token": uuid.uuid4().hex}).encode()
