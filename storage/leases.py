"""Leases: one writer at a time for work that takes several writes, such as two objects that belong together.

The lease is an object that names its holder. It is acquired and released by conditional writes, and renewed every RENEW
seconds. One that is not renewed for EXPIRY seconds was left by a process that died, and the next writer takes it over.
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

# In seconds.
POLL = 0.2
RENEW = 5.0
EXPIRY = 30.0
# A larger lease counts as damaged.
MAX_BYTES = 64 * 2**10


class Lost(Exception):
    """Another holder has taken the lease over."""


@contextmanager
def lease(storage: Storage, key: str, holder: str) -> Iterator[Callable[[], None]]:
    """Wait for the lease and hold it inside the block.

    Args:
        key: the object that is the lease.
        holder: a name of the holder, written to the object for people who read it.

    Yields:
        A function that raises `Lost` once another holder has the lease: call it before each write.
    """
    etag = _acquire(storage, key, holder)
    stop, lost = threading.Event(), threading.Event()

    def renew() -> None:
        nonlocal etag
        while not stop.wait(RENEW):
            try:
                etag = storage.put(key, _claim(holder), if_match=etag)
            except Changed:
                lost.set()
                return
            except Unavailable:
                continue  # the next renewal may succeed before EXPIRY, and the holder's own writes fail the same way

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
        # A lease that cannot be released expires.
        with suppress(Changed, Unavailable):
            storage.put(key, b"null", if_match=etag)


def _acquire(storage: Storage, key: str, holder: str) -> str:
    """Wait until the lease is free, or was not renewed for EXPIRY by this process's clock. Returns its etag."""
    seen, since = "", 0.0
    while True:
        try:
            content, etag = read(storage, key)
        except NotFound:
            try:
                return storage.put(key, _claim(holder), if_absent=True)
            except AlreadyExists:
                continue
        if etag != seen:
            seen, since = etag, time.monotonic()
        if not is_claim(content) or time.monotonic() - since > EXPIRY:
            try:
                return storage.put(key, _claim(holder), if_match=etag)
            except Changed:
                continue
        time.sleep(POLL)


def read(storage: Storage, key: str) -> tuple[bytes, str]:
    """The lease's content, empty if it is damaged, and its etag. Raises NotFound."""
    try:
        return storage.get_with_etag(key, MAX_BYTES)
    except Damaged:
        entry = storage.stat(key)
        if entry is None:
            raise NotFound(key) from None
        return b"", entry.etag


def is_claim(content: bytes) -> bool:
    """Whether the lease is held. A damaged lease counts as free: its holder fails to renew it and stops."""
    try:
        return "token" in plain_json.decode_object(content)
    except ValueError:
        return False


def _claim(holder: str) -> bytes:
    # The token makes each renewal differ from the one before, so that waiting processes notice it.
    return json.dumps({"by": holder, "token": uuid.uuid4().hex}).encode()
