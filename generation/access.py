"""Whose a stored track is."""

from __future__ import annotations

from core import principal


def may_fetch(key: str) -> bool:
    """Whether the principal may fetch the track with this storage key.

    A track in `made` is its maker's. One that was made without sign-in is the twin's producer's; a base model's is open
    to all.
    """
    root, kind, owner, *_ = [*key.split("/"), "", ""]
    if (root, kind) == ("outputs", "made"):
        return principal.current().hears(owner)
    return (root, kind) != ("outputs", "twins") or principal.sees(owner)
