"""The interface of storage, its entries and its exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Protocol

from core.errors import Refusal

CHUNK = 2**20  # bytes that are copied at once

FULL_MESSAGE = "the storage is full; delete something or give it more space"


@dataclass(frozen=True)
class Entry:
    """The metadata of an object, known without reading it.

    Attributes:
        key: where the object is.
        size: in bytes.
        modified: with its time zone.
        etag: differs between two contents of one key.
        sha256: of the contents as they were written. None in entries of `list`, and for objects that another program
            wrote.
    """

    key: str
    size: int
    modified: datetime
    etag: str
    sha256: str | None = None


class NotFound(Exception):
    """There is no object with this key."""


class AlreadyExists(Exception):
    """A write on the condition that the object is absent (`if_absent`) found one."""


class Changed(Exception):
    """A write on the condition that the object has an etag (`if_match`) found another one, or no object."""


class BadKey(ValueError):
    """The key is not well-formed; see `keys.check`."""


class Unavailable(Refusal):
    """The storage cannot be reached or denies access (503), or is full (507)."""


class Damaged(Refusal):
    """The object is not as it was written (500). Reading it again does not help; a copy of it may.

    Attributes:
        reason: for the log.
    """

    def __init__(self, key: str, reason: str = "its digest differs") -> None:
        super().__init__(500, f"/data/{key}: it was damaged in storage; restore it from a copy, or delete it")
        self.reason = reason


def check_size(key: str, size: int, max_bytes: int | None) -> None:
    """Raise Damaged if an object of `size` bytes is larger than `max_bytes`, before it is read."""
    if max_bytes is not None and size > max_bytes:
        raise Damaged(key, f"it has {size} bytes, more than {max_bytes}")


def digest_of(storage: Storage, key: str) -> str | None:
    """The SHA-256 of the object, which is read only if its entry has none; None if there is no object."""
    entry = storage.stat(key)
    return None if entry is None else entry.sha256 or sha256(storage.get(key)).hexdigest()


class Storage(Protocol):
    """Objects by key. Instances may be shared by threads.

    Every method may raise `Unavailable`, and raises `BadKey` before it does anything. An object is written with its
    digest, and reading a whole object checks it: `get`, `get_with_etag` and `get_file` may raise `Damaged`.

    An etag is an opaque string that differs between two contents of one key.
    """

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Write the object and return its etag.

        Raises AlreadyExists or Changed, or Damaged if the key names a folder or a pipe; nothing is written then.
        """

    def put_file(self, key: str, source: Path | BinaryIO, *, if_absent: bool = False) -> str:
        """Write the object from a file (an open one from its start), in constant memory, and return its etag.

        Raises AlreadyExists; nothing is written then.
        """

    def get(self, key: str) -> bytes:
        """The object. Raises NotFound."""

    def get_with_etag(self, key: str, max_bytes: int | None = None) -> tuple[bytes, str]:
        """The object and the etag of exactly these bytes.

        Raises NotFound, or Damaged if it has more than `max_bytes`, without reading it.
        """

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Up to `length` bytes from `start`, fewer where the object ends before. Raises NotFound."""

    def get_file(self, key: str, path: Path) -> None:
        """Write the object to the file `path`, which appears whole or not at all. Raises NotFound."""

    def stat(self, key: str) -> Entry | None:
        """The object's entry; None if there is no object."""

    def list(self, prefix: str, after: str = "", limit: int | None = None) -> Iterator[Entry]:
        """Entries of all objects whose key starts with `prefix`, sorted by the key's UTF-8 bytes.

        As in S3, `a/b` also finds `a/bc`: end a folder with a slash.

        Args:
            after: leave out this key and those before it.
            limit: the number of entries at most; up to 1,000 cost one call of S3.
        """

    def holds(self, prefix: str) -> bool:
        """Whether the folder `prefix`, which ends with a slash, contains anything, be it an object or not."""

    def delete(self, key: str) -> bool:
        """Remove the object. Returns whether it existed."""

    def tidy(self, seconds: float) -> int:
        """Remove unfinished writes that were begun more than `seconds` ago, and return their number."""

    def local(self, key: str) -> Path | None:
        """The object's file on this machine, for reading only; None if there is no object, or no file."""

    def link(self, key: str, seconds: int, media_type: str) -> str | None:
        """A URL where anybody may read the object for `seconds`; None if this storage cannot make one."""

    def upload_link(self, key: str, seconds: int, size: int) -> tuple[str, dict[str, str]] | None:
        """A URL where anybody may PUT an object of `size` bytes for `seconds`, and the headers to send.

        A PUT fails if the object exists. None if this storage cannot make such a URL.
        """
