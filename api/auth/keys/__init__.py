"""API keys, with their scopes, producers and limits. A key is shown once; storage has a digest of it.

The secret part is 256 random bits, so a plain digest is enough: no dictionary helps to guess it.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from contract import Id, is_id
from core.errors import Refusal
from core.principal import Scope
from storage import AlreadyExists, Damaged, NotFound, Storage, Unavailable, keys

log = logging.getLogger("producer_twin.edge")

PREFIX = "ptk"
# Keys are read again after this time, so that every server knows a new or revoked key within it.
MAX_AGE_SECONDS = 10.0


class Key(BaseModel):
    """An API key as it is stored, without its secret part.

    Attributes:
        digest: SHA-256 of the secret part, in hexadecimal.
        producers: those that it may see and change; None means all.
        requests_per_minute: None means KEY_REQUESTS_PER_MINUTE.
        jobs_at_once: None means KEY_JOBS_AT_ONCE.
        names_visitors: its holder sends its visitors' addresses, which have limits of their own.
    """

    id: str
    name: str
    digest: str
    scopes: list[Scope] = Field(min_length=1)
    producers: list[Id] | None = None
    requests_per_minute: int | None = Field(None, ge=1)
    jobs_at_once: int | None = Field(None, ge=0)
    names_visitors: bool = False
    created_at: datetime


class KeyRing:
    """The keys in storage as they were last read (`refresh`), and whether requests need one.

    Once this process has seen that a key is needed, it needs one until it ends, whatever happens to storage.

    Args:
        guest: one more key that this server accepts, as a `Key` in JSON. It does not make keys needed.
    """

    def __init__(self, storage: Storage, guest: str | None = None) -> None:
        self._storage = storage
        self._guest = Key.model_validate_json(guest) if guest else None
        self._lock = threading.Lock()
        self._keys: dict[str, Key] | None = None
        self._needed = False
        self._read_at = 0.0

    def find(self, token: str) -> Key | None:
        """The key with this token; None if there is none. The comparison takes constant time."""
        prefix, _, rest = token.partition("_")
        key_id, _, secret = rest.partition("_")
        key = self._by_id(key_id) if prefix == PREFIX else None
        matches = hmac.compare_digest(_digest(secret), key.digest if key else _digest(""))
        return key if matches and key else None

    @property
    def needed(self) -> bool:
        """Whether every request needs a key."""
        return self._needed or self._keys is None

    @property
    def known(self) -> bool:
        """Whether the keys have been read at least once."""
        return self._keys is not None

    @property
    def fresh(self) -> bool:
        return self._keys is not None and time.monotonic() - self._read_at <= MAX_AGE_SECONDS

    def refresh(self) -> None:
        """Read the keys if they are no longer fresh. While storage is unavailable, the keys last read count.

        Raises:
            Unavailable: they have never been read.
        """
        with self._lock:
            if self.fresh:
                return
            try:
                self._needed = is_needed(self._storage) or self._needed
                self._keys = {key.id: key for key in read_keys(self._storage, self._keys)}
            except Unavailable:
                if self._keys is None:
                    raise
            self._read_at = time.monotonic()

    def _by_id(self, key_id: str) -> Key | None:
        if self._guest and self._guest.id == key_id:
            return self._guest
        return (self._keys or {}).get(key_id)


def is_needed(storage: Storage) -> bool:
    """Whether there has ever been a key. An object in the folder of keys or of their mark counts, even if damaged."""
    if storage.holds(keys.access()):
        return True
    if not storage.holds(keys.api_keys()):
        return False
    try:
        _mark_as_required(storage)  # the key is older than the mark
    except Refusal as refusal:
        log.error("the mark that API keys are needed could not be stored: %s", refusal.message)
    return True


def _mark_as_required(storage: Storage) -> None:
    """Store the mark that every request needs a key from now on."""
    with suppress(AlreadyExists):
        storage.put(keys.key_required(), b"", if_absent=True)


def read_keys(storage: Storage, known: Mapping[str, Key] | None = None) -> list[Key]:
    """Every key, the oldest first. A key that cannot be read is taken from `known`, or else left out.

    Raises:
        Unavailable: the keys cannot be listed, or none of them can be read for the time being.
    """
    found: list[Key] = []
    away: Unavailable | None = None
    for entry in storage.list(keys.api_keys()):
        try:
            key = Key.model_validate_json(storage.get(entry.key))
            if entry.key != keys.api_key(key.id):
                raise Damaged(entry.key)
            found.append(key)
        except NotFound:
            continue
        except (ValidationError, Damaged):
            log.error("%s is damaged: the key is refused", keys.to_path(entry.key))
        except Unavailable as error:
            log.error("%s cannot be read: %s", keys.to_path(entry.key), error.message)
            away = error
            if before := (known or {}).get(PurePosixPath(entry.key).stem):
                found.append(before)
    if away and not found:
        raise away
    return sorted(found, key=lambda key: key.created_at)


def create(
    storage: Storage,
    name: str,
    scopes: list[Scope],
    producers: list[str] | None = None,
    **limits: Any,
) -> str:
    """Make and store a key, and return its token, which cannot be read again; `limits` are other fields of `Key`."""
    token, key = new_key(name, scopes, producers=producers, **limits)
    _mark_as_required(storage)
    storage.put(keys.api_key(key.id), key.model_dump_json().encode(), if_absent=True)
    return token


def new_key(name: str, scopes: list[Scope], **limits: Any) -> tuple[str, Key]:
    """A new key's token and its record; `limits` are other fields of `Key`."""
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    key = Key(id=key_id, name=name, digest=_digest(secret), scopes=scopes, created_at=datetime.now(UTC), **limits)
    return f"{PREFIX}_{key_id}_{secret}", key


def revoke(storage: Storage, key_id: str) -> bool:
    """Delete a key. Returns whether it existed."""
    return is_id(key_id) and storage.delete(keys.api_key(key_id))


def reopen(storage: Storage) -> None:
    """Serve programs on the server's machine without a key again, after the next start.

    Raises:
        Refusal: 409, there are keys.
    """
    if left := [keys.to_path(entry.key) for entry in storage.list(keys.api_keys())]:
        raise Refusal(409, f"there are keys: {', '.join(left)}; revoke them first")
    storage.delete(keys.key_required())
    for folder in (keys.access(), keys.api_keys()):
        if storage.holds(folder):
            raise Refusal(409, f"there is something else in {keys.PATH_PREFIX}{folder}; remove it first")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
