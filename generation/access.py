"""The owner of a stored track or upload: who may fetch it, change it, and find it in the library."""

from __future__ import annotations

from core import principal
from storage import keys


def may_fetch(key: str) -> bool:
    """Whether the principal may fetch the track or upload with this storage key.

    A track in `made` is its maker's. One that was made without sign-in is the twin's producer's; a base model's is open
    to all.
    """
    if key.startswith("outputs/made/"):
        return principal.current().hears(key.split("/")[2])
    producer = producer_of(key)
    return producer is None or principal.sees(producer)


def may_change(key: str) -> bool:
    """Whether the principal may rename, like or delete the track with this storage key.

    A track in `made` is its maker's; any other is that of those who train for its producer.
    """
    who = principal.current()
    sees_all, trains = who.producers is None, bool(who.scopes & {"train", "admin"})
    if key.startswith("outputs/made/"):
        maker = key.split("/")[2]
        return (maker == who.tracks and maker != principal.SHARED_TRACKS) or (sees_all and trains)
    producer = producer_of(key)
    return trains and (sees_all if producer is None else principal.sees(producer))


def listed_folders() -> list[str]:
    """The folders of the records that the library lists for the principal; `may_list` leaves some of them out.

    Nobody is listed the tracks that others made without sign-in.
    """
    who = principal.current()
    own = [keys.track_records(who.tracks)] if who.tracks and who.tracks != principal.SHARED_TRACKS else []
    shared = [keys.track_records()] if who.producers is None or who.producers else []
    return own + shared


def may_list(record_key: str) -> bool:
    """Whether the library lists the track of this record, which is in one of `listed_folders`."""
    who = principal.current()
    if who.producers is None or not record_key.startswith(keys.track_records()):
        return True
    return keys.producer_of_record(record_key) in who.producers


def producer_of(key: str) -> str | None:
    """The producer of a twin's track or of an upload; None for a track of the base model or of a user."""
    root, kind, owner, *_ = [*key.split("/"), "", ""]
    if root == "uploads":
        return kind
    return owner if (root, kind) == ("outputs", "twins") else None
