"""The owner of a stored track or upload."""

from __future__ import annotations

from core import principal


def may_fetch(key: str) -> bool:
    """Whether the principal may fetch the track or upload with this storage key.

    A track in `made` is its maker's. One that was made without sign-in is the twin's producer's; a base model's is open
    to all.
    """
    if key.startswith("outputs/made/"):
        return principal.current().hears(key.split("/")[2])
    producer = producer_of(key)
    return producer is None or principal.sees(producer)


def producer_of(key: str) -> str | None:
    """The producer of a twin's track or of an upload; None for a track of the base model or of a user."""
    root, kind, owner, *_ = [*key.split("/"), "", ""]
    if root == "uploads":
        return kind
    return owner if (root, kind) == ("outputs", "twins") else None
