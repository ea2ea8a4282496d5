"""The library: the records of tracks in storage, listed, changed and deleted."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from heapq import merge
from itertools import groupby, islice

from contract import FORMATS, TrackChanges
from core import principal
from core.errors import Refusal
from core.recent import Recent
from core.text import shown
from generation import access
from generation.outbox import Outbox
from generation.track_record import TrackRecord, parse
from storage import Changed, Damaged, Entry, NotFound, Storage, Unavailable, keys, records
from storage.index_writer import IndexWriter
from storage.record_index import Copy, RecordIndex

MAX_PAGE = 100
# Records that one request looks at: a filter that fits few of them answers a page that is not full.
MAX_SCANNED = 1_000
MAX_CACHED = 5_000
_BATCH = 100
_LISTED_AT_ONCE = 1_000
# Up to this number, records are read one by one, since the index costs two calls.
_FEW = 2
_READERS = ThreadPoolExecutor(8, "track-records")


@dataclass(frozen=True)
class TrackFilter:
    """Which tracks are listed; a field that is None does not matter.

    Attributes:
        lora_id: one of the track's twins, in any version unless it names one.
        producer_id: the producer whose twin or recording the track comes from.
        text: words that are all in the title, the prompt or the lyrics, in any case.
        parent: the track that was edited.
        liked: True for those that are liked.
    """

    lora_id: str | None = None
    producer_id: str | None = None
    text: str | None = None
    parent: str | None = None
    liked: bool | None = None

    def matches(self, record: TrackRecord) -> bool:
        twins = {name for twin in record.twins for name in (twin.lora_id, f"{twin.lora_id}@{twin.version}")}
        text = " ".join([record.title or "", record.prompt, str(record.options.get("lyrics", ""))]).casefold()
        return (
            (self.lora_id is None or self.lora_id in twins)
            and (self.producer_id is None or self.producer_id == record.producer_id)
            and (self.parent is None or self.parent == record.parent)
            and (self.liked is None or self.liked == record.liked)
            and all(word in text for word in (self.text or "").casefold().split())
        )


class TrackLibrary:
    """The records of tracks.

    A folder of records lists the newest first, by their names. Records that were read stay in memory with their etag,
    which the list has too: a page of them costs one call of storage. In a bucket the others come from an index, which
    costs two calls more.

    Args:
        outbox: its storage, and the records that wait for it.
    """

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.storage: Storage = outbox.storage
        self.index = RecordIndex(self.storage, keys.TRACK_RECORDS, keys.TRACK_INDEX)
        self.index_writer = IndexWriter(self.index)
        self._cache = Recent[str, tuple[str, TrackRecord]](MAX_CACHED)
        self._lock = threading.Lock()

    def add(self, record: TrackRecord) -> None:
        """Store the record of a new track. Raises Unavailable."""
        if etag := self.outbox.put(record.stored_at, record.encoded()):
            self._remember(record, etag)

    def page(self, wanted: TrackFilter, cursor: str | None, limit: int) -> tuple[list[TrackRecord], str | None]:
        """The next tracks of those that the principal may list, and the cursor of the page after; None at the end."""
        found: list[TrackRecord] = []
        is_all = wanted == TrackFilter()
        # Without a filter, a principal that sees all tracks gets every track that is listed.
        listed = limit + 1 if is_all and principal.current().producers is None else _LISTED_AT_ONCE
        folders = [self._entries(folder, cursor, listed) for folder in access.listed_folders()]
        last = cursor
        entries = merge(*folders, key=_name)
        for scanned, (name, record) in enumerate(self._read_all(entries, listed)):
            if len(found) == limit:
                return found, last
            last = name
            if record and wanted.matches(record):
                found.append(record)
            if scanned + 1 == MAX_SCANNED:
                return found, last
        return found, None

    def find(self, track_id: str) -> TrackRecord:
        """The record of a track that the principal may fetch.

        Raises:
            Refusal: 404, there is none; 500, it is damaged.
        """
        key = _key(track_id)
        if not access.may_fetch(key):
            raise _missing(track_id)
        record_key = keys.track_record(track_id)
        if path := self.outbox.waiting(record_key):
            with suppress(FileNotFoundError):  # it was stored meanwhile
                return parse(path.read_bytes(), record_key)
        return self._read(track_id)[0]

    def change(self, track_id: str, changes: TrackChanges) -> TrackRecord:
        """Change a track's title, and whether it is liked. Raises Refusal: 403, 404, 500, 503."""
        _check_may_change(track_id)
        if self.outbox.waiting(keys.track_record(track_id)):
            raise Unavailable(503, f"track_id: {shown(track_id)} is not in storage yet; try again later")
        while True:
            record, etag = self._read(track_id)
            changed = record.model_copy(
                update={
                    "title": record.title if changes.title is None else changes.title or None,
                    "liked": record.liked if changes.liked is None else changes.liked,
                }
            )
            if changed == record:
                return record
            with suppress(Changed):
                self._remember(changed, self.storage.put(record.stored_at, changed.encoded(), if_match=etag))
                return changed

    def delete(self, track_id: str) -> list[str]:
        """Delete a track with all that is stored besides it, damaged or not. Returns the keys that were deleted.

        Raises:
            Refusal: 403; 404, there was nothing.
        """
        key = _check_may_change(track_id)
        files = [key.removesuffix("wav") + extension for extension in FORMATS]
        deleted = [each for each in (*files, *keys.track_companions(key)) if self.outbox.delete(each)]
        if not deleted:
            raise _missing(track_id)
        self.index_writer.discard(keys.track_record(track_id))
        return deleted

    def _read(self, track_id: str) -> tuple[TrackRecord, str]:
        try:
            return records.read(self.storage, keys.track_record(track_id), parse)
        except NotFound:
            raise _missing(track_id) from None

    def _entries(self, folder: str, cursor: str | None, at_once: int) -> Iterator[Entry]:
        after = f"{folder}{cursor}" if cursor else ""
        while True:
            entries = list(self.storage.list(folder, after, at_once))
            yield from entries
            if len(entries) < at_once:
                return
            after = entries[-1].key

    def _read_all(self, entries: Iterator[Entry], at_once: int) -> Iterator[tuple[str, TrackRecord | None]]:
        """Each entry's name with its record; None if the principal may not list it, or it is damaged or deleted.

        Args:
            at_once: entries that are looked up in the index together.
        """
        while batch := list(islice(entries, at_once)):
            listed = [entry for entry in batch if access.may_list(entry.key)]
            copies = self._copies(listed)
            rest = iter(batch)
            while some := list(islice(rest, _BATCH)):
                allowed = [entry for entry in some if access.may_list(entry.key)]
                read = _READERS.map(self._cached, allowed, [copies.get(entry.key) for entry in allowed])
                found = dict(zip([entry.key for entry in allowed], read, strict=True))
                yield from ((_name(entry), found.get(entry.key)) for entry in some)

    def _copies(self, entries: Sequence[Entry]) -> dict[str, str]:
        """The texts of records in the index, of those that are not in memory."""
        with self._lock:
            unknown = [entry for entry in entries if self._cache.get(entry.key, ("",))[0] != entry.etag]
        if len(unknown) <= _FEW or not self._is_indexed(unknown[0].key):
            return {}
        found: dict[str, str] = {}
        for _, each in groupby(sorted(unknown, key=lambda entry: entry.key), key=_folder):
            found |= self.index.find(list(each))
        return found

    def _cached(self, entry: Entry, copy: str | None) -> TrackRecord | None:
        with self._lock:
            etag, known = self._cache.get(entry.key, ("", None))
            if etag == entry.etag:
                self._cache.move_to_end(entry.key)
                return known
        if copy is not None:
            with suppress(ValueError):
                record = parse(copy.encode(), entry.key)
                self._keep(record, entry.etag)
                return record
        try:
            record, etag = records.read(self.storage, entry.key, parse)
        except (NotFound, Damaged):
            return None
        self._remember(record, etag)
        return record

    def _remember(self, record: TrackRecord, etag: str) -> None:
        """Keep a record that was read or written in memory and in the index."""
        self._keep(record, etag)
        if self._is_indexed(record.stored_at):
            self.index_writer.put(record.stored_at, Copy(etag, record.listed()))

    def _keep(self, record: TrackRecord, etag: str) -> None:
        with self._lock:
            self._cache[record.stored_at] = etag, record

    def _is_indexed(self, key: str) -> bool:
        """Records that are files of this machine are read as fast as an index."""
        return self.storage.local(key) is None


def _name(entry: Entry) -> str:
    return entry.key.rpartition("/")[2]


def _folder(entry: Entry) -> str:
    return entry.key.rpartition("/")[0]


def _key(track_id: str) -> str:
    """The key of a track, whose extension is not known. Raises Refusal (404) if the id is not well-formed."""
    key = keys.track_of(track_id)
    if key is None:
        raise _missing(track_id)
    return key


def _check_may_change(track_id: str) -> str:
    """The key as `_key`. Raises Refusal: 404, the principal may not fetch the track either; 403."""
    key = _key(track_id)
    if access.may_change(key):
        return key
    if access.may_fetch(key):
        raise Refusal(403, f"track_id: {shown(track_id)} is not yours; its maker or its producer may change it")
    raise _missing(track_id)


def _missing(track_id: str) -> Refusal:
    return Refusal(404, f"track_id: there is no track {shown(track_id)} in the library")
