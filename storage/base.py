"""The interface that both places implement, and what they raise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from errors import Refusal

CHUNK = 2**20


@dataclass(frozen=True)
class Entry:
    """What is known of an object without reading it: `size` in bytes, `modified` with its time zone."""

    key: str
    size: int
    modified: datetime
    etag: str


class NotFound(Exception):
    """There is no object with this key."""


class AlreadyExists(Exception):
    """`if_absent` was asked for, and there is an object with this key."""


class Changed(Exception):
    """`if_match` was asked for, and the object is another one now, or gone."""


class BadKey(ValueError):
    """The key is not well-formed (`keys.check` says how it must be)."""


class Unavailable(Refusal):
    """The storage cannot be reached or does not let us (503), or is full (507)."""


class Storage(Protocol):
    """Objects by key. Every method may raise `Unavailable`, and `BadKey` before anything is done.

    An etag is an opaque string that differs between two different contents written to one key.
    Instances may be shared by threads.
    """

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Write the object and return its etag. Raises AlreadyExists or Changed, having written nothing."""

    def put_file(self, key: str, path: Path, *, if_absent: bool = False) -> str:
        """Write the object from a file, in constant memory, and return its etag."""

    def get(self, key: str) -> bytes:
        """The object. Raises NotFound."""

    def get_with_etag(self, key: str) -> tuple[bytes, str]:
        """The object and the etag of exactly these bytes. Raises NotFound."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Up to `length` bytes from `start`, fewer where the object ends before. Raises NotFound."""

    def get_file(self, key: str, path: Path) -> None:
        """Write the object to `path`, which appears whole or not at all. Raises NotFound."""

    def stat(self, key: str) -> Entry | None:
        """The object's entry, None if there is no object."""

    def list(self, prefix: str) -> Iterator[Entry]:
        """Entries of all objects whose key starts with `prefix`, sorted by the key's UTF-8 bytes.

        As in S3, `a/b` also finds `a/bc`: end a folder with a slash.
        """

    def delete(self, key: str) -> bool:
        """Remove the object; False if it was not there."""
