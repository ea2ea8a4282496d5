"""The interface that both places implement, and what they raise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from core.errors import Refusal

CHUNK = 2**20


@dataclass(frozen=True)
class Entry:
    """What is known of an object without reading it: `size` in bytes, `modified` with its time zone.

    `sha256` is that of the contents as they were written; it is left out by `list`, and where an object came into the
    storage by another way.
    """

    key: str
    size: int
    modified: datetime
    etag: str
    sha256: str | None = None


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


class Damaged(Refusal):
    """The object is not what was written: its digest differs (500). Reading it anew is of no use; a copy may be."""

    def __init__(self, key: str) -> None:
        super().__init__(500, f"/data/{key}: it was damaged in storage; restore it from a copy, or delete it")


class Storage(Protocol):
    """Objects by key. Every method may raise `Unavailable`, and `BadKey` before anything is done.

    What is written carries its digest, and reading a whole object checks it: `get`, `get_with_etag` and `get_file` may
    raise `Damaged`.

    An etag is an opaque string that differs between two different contents written to one key.
    Instances may be shared by threads.
    """

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Write the object and return its etag.

        Raises AlreadyExists or Changed, or Damaged where something lies that is no object, having written nothing.
        """

    def put_file(self, key: str, source: Path | BinaryIO, *, if_absent: bool = False) -> str:
        """Write the object from a file (an open one from its start), in constant memory, and return its etag.

        Raises AlreadyExists, having written nothing.
        """

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

    def holds(self, prefix: str) -> bool:
        """Whether there is anything at all in the folder `prefix`, which ends with a slash, be it no object."""

    def delete(self, key: str) -> bool:
        """Remove the object; False if it was not there."""

    def tidy(self, seconds: float) -> int:
        """Remove what writers that died so many seconds ago left half-written; how many there were."""

    def local(self, key: str) -> Path | None:
        """The object as a file of this machine, to be read only; None where there is none."""

    def link(self, key: str, seconds: int, media_type: str) -> str | None:
        """A URL where anybody may read the object for so long; None where the place has no such thing."""

    def upload_link(self, key: str, seconds: int, size: int) -> tuple[str, dict[str, str]] | None:
        """A URL where anybody may PUT `size` bytes once for so long, unless there is such an object, and the headers
        to send; None where the place has no such thing."""
