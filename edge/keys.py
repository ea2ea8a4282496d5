"""API keys: what each may do, and for whose producers. A key is shown once; storage keeps a digest of it.

    python -m edge.keys create web --scope generate --scope train
    python -m edge.keys create ada-laptop --scope train --producer ada
    python -m edge.keys list
    python -m edge.keys revoke 1f0c…

The secret part is 256 random bits, so a plain digest is enough: there is nothing to guess from a dictionary.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import threading
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

import typer
from pydantic import BaseModel, Field, ValidationError

from contract import Id, is_id
from errors import Refusal
from settings import settings
from storage import NotFound, Storage, Unavailable, keys, open_storage

log = logging.getLogger("producer_twin.edge")

Scope = Literal["generate", "train", "admin"]
SCOPES = get_args(Scope)
PREFIX = "ptk"
# A key that was made or revoked elsewhere is known here after so many seconds.
FRESH = 10.0


class Key(BaseModel):
    """What is stored of a key. `producers` None means every producer; limits None mean the settings'."""

    id: str
    name: str
    digest: str
    scopes: list[Scope] = Field(min_length=1)
    producers: list[Id] | None = None
    requests_per_minute: int | None = Field(None, ge=1)
    jobs_at_once: int | None = Field(None, ge=0)
    created_at: datetime


class KeyRing:
    """The keys in storage, read again every FRESH seconds. While storage is away, those last known count.

    Args:
        guest: one more key, as `Key` in JSON, which is good while this server lives and does not count as a key that
            there is: whoever needed none before needs none beside it.
    """

    def __init__(self, storage: Storage, guest: str | None = None) -> None:
        self._storage = storage
        self._guest = Key.model_validate_json(guest) if guest else None
        self._lock = threading.Lock()
        self._keys: dict[str, Key] | None = None
        self._read_at = 0.0

    def find(self, token: str) -> Key | None:
        """The key that this is, in a time that does not tell how much of it is right."""
        prefix, _, rest = token.partition("_")
        some_id, _, secret = rest.partition("_")
        known = self._of_id(some_id) if prefix == PREFIX else None
        right = hmac.compare_digest(_digest(secret), known.digest if known else _digest(""))
        return known if right and known else None

    def __len__(self) -> int:
        return len(self._known())

    def _of_id(self, some_id: str) -> Key | None:
        if self._guest and self._guest.id == some_id:
            return self._guest
        return self._known().get(some_id)

    def _known(self) -> dict[str, Key]:
        """Raises Unavailable if storage was never there."""
        with self._lock:
            if self._keys is None or time.monotonic() - self._read_at > FRESH:
                try:
                    self._keys = {key.id: key for key in stored(self._storage)}
                except Unavailable:
                    if self._keys is None:
                        raise
                self._read_at = time.monotonic()
            return self._keys


def stored(storage: Storage) -> list[Key]:
    """Every key, the oldest first."""
    found = []
    for entry in storage.list(keys.api_keys()):
        try:
            found.append(Key.model_validate_json(storage.get(entry.key)))
        except NotFound:
            continue
        except ValidationError:
            log.error("%s is damaged: the key is refused", keys.to_path(entry.key))
    return sorted(found, key=lambda key: key.created_at)


def create(
    storage: Storage,
    name: str,
    scopes: list[Scope],
    producers: list[str] | None = None,
    requests_per_minute: int | None = None,
    jobs_at_once: int | None = None,
) -> str:
    """Make a key and return it; nobody can read it again."""
    token, key = made(
        name,
        scopes,
        producers=producers,
        requests_per_minute=requests_per_minute,
        jobs_at_once=jobs_at_once,
    )
    storage.put(keys.api_key(key.id), key.model_dump_json().encode(), if_absent=True)
    return token


def made(name: str, scopes: list[Scope], **limits: Any) -> tuple[str, Key]:
    """A new key, and what is to be kept of it; `limits` are other fields of Key."""
    some_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    key = Key(id=some_id, name=name, digest=_digest(secret), scopes=scopes, created_at=datetime.now(UTC), **limits)
    return f"{PREFIX}_{some_id}_{secret}", key


def revoke(storage: Storage, some_id: str) -> bool:
    """False if there is no such key."""
    return is_id(some_id) and storage.delete(keys.api_key(some_id))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


command = typer.Typer(help="API keys of this service, in its storage (STORAGE_URL).", no_args_is_help=True)


def _storage() -> Storage:
    return open_storage(settings().storage_url, settings().s3_endpoint_url)


@command.command("create")
def _create(
    name: Annotated[str, typer.Argument(help="Whose key it is, for the log.")],
    scope: Annotated[list[str], typer.Option(help=f"What it may do: {', '.join(SCOPES)}; may be repeated.")],
    producer: Annotated[list[str] | None, typer.Option(help="Only for this producer; may be repeated.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(help="Instead of KEY_REQUESTS_PER_MINUTE.")] = None,
    jobs_at_once: Annotated[int | None, typer.Option(help="Instead of KEY_JOBS_AT_ONCE.")] = None,
) -> None:
    """Make a key and print it, once."""
    try:
        typer.echo(create(_storage(), name, scope, producer or None, requests_per_minute, jobs_at_once))  # type: ignore[arg-type]
    except ValidationError as error:
        raise typer.BadParameter(f"{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}") from None
    except Refusal as refusal:
        typer.echo(f"error: {refusal.message}", err=True)
        raise typer.Exit(1) from None


@command.command("list")
def _list() -> None:
    """What keys there are."""
    for key in stored(_storage()):
        whose = ", ".join(key.producers) if key.producers else "every producer"
        typer.echo(f"{key.id}  {key.created_at:%Y-%m-%d}  {key.name}: {', '.join(key.scopes)} for {whose}")


@command.command("revoke")
def _revoke(some_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")]) -> None:
    """End a key; every server knows within some seconds."""
    if not revoke(_storage(), some_id):
        typer.echo(f"error: there is no key {some_id}", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    command()
