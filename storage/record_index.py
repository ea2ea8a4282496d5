"""An index of records: copies of many small records in a few objects, so that a list of them costs few calls.

The records are the truth, and storage's own list of their keys says which there are. A copy counts only while its etag
is the listed one: an index that is missing, behind or damaged costs calls, and never shows a record as it is not.

The copies of a folder of records lie in leaves, sorted by name. A leaf is named after the last record that it owns, the
last leaf `~`; it owns what sorts after the leaf before it. It also holds the last OVERLAP records of that leaf,
so that one leaf has all of a page of as many records.
"""

from __future__ import annotations

import gzip
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import NamedTuple

from storage import records
from storage.base import AlreadyExists, Changed, Damaged, Entry, NotFound, Storage

# A leaf with more copies is split. The newest part stays small, since each new record writes it.
MAX_LEAF = 1_200
SEALED_LEAF = 1_000
OVERLAP = 100
_END = "~"
_SUFFIX = ".gz"
_LEAVES_LISTED = 32
_SWEPT_AT_ONCE = 1_000
_TRIES = 8


class Copy(NamedTuple):
    """A record's etag, and a text without line breaks."""

    etag: str
    text: str


_Leaf = dict[str, Copy]  # by the record's name


class RecordIndex:
    """The index of all folders of records below a folder.

    Args:
        storage: holds the records and the index.
        records_root: the folder of the records, with a slash at its end.
        root: the folder of the index, which has the same folders.
    """

    def __init__(self, storage: Storage, records_root: str, root: str) -> None:
        self.storage = storage
        self.records_root, self.root = records_root, root

    def find(self, entries: Sequence[Entry]) -> dict[str, str]:
        """The texts of those of these records, of one folder and sorted, that have a copy, by key."""
        found: dict[str, str] = {}
        if not entries:
            return found
        folder = self._folder_of(entries[0].key)
        listed = self.storage.list(folder, folder + _name(entries[0].key), _LEAVES_LISTED)
        bounds = [_bound(leaf.key) for leaf in listed]
        rest = [entry for entry in entries if bounds and _name(entry.key) <= bounds[-1]]
        while rest:
            bound = bounds[bisect_left(bounds, _name(rest[-1].key))]
            leaf = self._read(folder, bound)[0]
            for entry in rest:
                copy = leaf.get(_name(entry.key))
                if copy and copy.etag == entry.etag:
                    found[entry.key] = copy.text
            before = bounds[bisect_left(bounds, bound) - 1] if bound != bounds[0] else ""
            rest = [entry for entry in rest if entry.key not in found and _name(entry.key) <= before]
        return found

    def put(self, copies: Mapping[str, Copy]) -> None:
        """Add copies of records, by key, in place of earlier ones. They are left out if others keep writing."""
        for folder, group in groupby(sorted(copies), self._folder_of):
            named = {_name(key): copies[key] for key in group}
            for _ in range(_TRIES):
                with suppress(AlreadyExists, Changed):
                    self._merge(folder, named)
                    break

    def discard(self, keys: Iterable[str]) -> None:
        """Remove the copies of these records. They are left to `sweep` if others keep writing."""
        for key in keys:
            folder, name = self._folder_of(key), _name(key)
            for bound in [_bound(leaf.key) for leaf in self.storage.list(folder, folder + name, 2)]:
                for _ in range(_TRIES):
                    leaf, etag = self._read(folder, bound)
                    if leaf.pop(name, None) is None:
                        break
                    with suppress(Changed, AlreadyExists):
                        self._write(folder, bound, leaf, etag)
                        break

    def sweep(self) -> int:
        """Remove the copies of records that are deleted or were changed, and those that are not its own from a leaf
        that was split when the process ended. Returns how many."""
        count = 0
        for folder, leaves in groupby(self.storage.list(self.root), lambda entry: _parent(entry.key)):
            before = ""
            for entry in leaves:
                bound = _bound(entry.key)
                count += self._sweep(folder, bound, before)
                before = bound
        return count

    def _sweep(self, folder: str, bound: str, before: str) -> int:
        """Sweep a leaf; `before` is the one that sorts before it."""
        leaf, etag = self._read(folder, bound)
        present = self._etags(folder, leaf)
        valid = {name: copy for name, copy in leaf.items() if present.get(name) == copy.etag}
        foreign = set([name for name in valid if name <= before][:-OVERLAP])
        kept = {name: copy for name, copy in valid.items() if name not in foreign}
        if not kept:
            self.storage.delete(folder + bound + _SUFFIX)
        elif kept != leaf:
            with suppress(Changed, AlreadyExists):
                self._write(folder, bound, kept, etag)
        return len(leaf) - len(kept)

    def _merge(self, folder: str, copies: _Leaf) -> None:
        """Raises AlreadyExists or Changed if another writer comes in between; it can be called again then."""
        bounds = ["", *(_bound(leaf.key) for leaf in self.storage.list(folder))]
        if bounds[-1] != _END:
            bounds.append(_END)
        rest = sorted(copies)
        while rest:
            at = bisect_left(bounds, rest[0])
            before, owner, following = bounds[at - 1], bounds[at], bounds[at + 1 : at + 2]
            mine = {name: copies[name] for name in rest if name <= owner}
            rest = rest[len(mine) :]
            held, etag = self._read(folder, owner)
            merged = dict(sorted((held | mine).items()))
            if merged != held:
                self._write_split(folder, owner, before, merged, etag)
            overlap = dict(list(merged.items())[-OVERLAP:])
            if following and not overlap.keys().isdisjoint(mine):
                held, etag = self._read(folder, following[0])
                after = overlap | {name: copy for name, copy in held.items() if name > owner}
                if after != held:
                    self._write(folder, following[0], after, etag)

    def _write_split(self, folder: str, bound: str, before: str, leaf: _Leaf, etag: str | None) -> None:
        """Write a sorted leaf, or several if it is too large; `before` is the leaf before it.

        The leaf itself is written last, so that all is still in it if the process ends before.
        """
        foreign, own = [name for name in leaf if name <= before], [name for name in leaf if name > before]
        parts: list[tuple[str, list[str]]] = []
        end = bound
        while len(own) > MAX_LEAF:
            own, sealed = own[:-SEALED_LEAF], own[-SEALED_LEAF:]
            parts.append((end, own[-OVERLAP:] + sealed))
            end = own[-1]
        parts.append((end, foreign[-OVERLAP:] + own))
        for part, names in reversed(parts):
            self._write(folder, part, {name: leaf[name] for name in names}, etag if part == bound else None)

    def _etags(self, folder: str, leaf: _Leaf) -> dict[str, str]:
        """The etags of the records between the leaf's first and last, by name."""
        found: dict[str, str] = {}
        if not leaf:
            return found
        names = sorted(leaf)
        below = self.records_root + folder.removeprefix(self.root)
        after = below + names[0][:-1]
        while True:
            entries = list(self.storage.list(below, after, _SWEPT_AT_ONCE))
            found |= {_name(entry.key): entry.etag for entry in entries}
            if len(entries) < _SWEPT_AT_ONCE or _name(entries[-1].key) >= names[-1]:
                return found
            after = entries[-1].key

    def _read(self, folder: str, bound: str) -> tuple[_Leaf, str | None]:
        """A leaf and its etag; empty if it is damaged or there is none."""
        key = folder + bound + _SUFFIX
        try:
            return records.read(self.storage, key, _parse)
        except NotFound:
            return {}, None
        except Damaged:
            return {}, records.etag_of(self.storage, key)

    def _write(self, folder: str, bound: str, leaf: _Leaf, etag: str | None) -> None:
        lines = [f"{name}\t{copy.etag}\t{copy.text}\n" for name, copy in leaf.items()]
        data = gzip.compress("".join(lines).encode(), 1, mtime=0)
        self.storage.put(folder + bound + _SUFFIX, data, if_absent=etag is None, if_match=etag)

    def _folder_of(self, key: str) -> str:
        """The folder of the leaves of a record's folder."""
        return self.root + _parent(key).removeprefix(self.records_root)


def _parse(data: bytes, key: str) -> _Leaf:
    try:
        lines = gzip.decompress(data).decode().split("\n")
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(str(error)) from error
    leaf = {}
    for line in lines[:-1]:
        name, etag, text = line.split("\t", 2)
        leaf[name] = Copy(etag, text)
    return leaf


def _parent(key: str) -> str:
    return key[: key.rindex("/") + 1]


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _bound(key: str) -> str:
    return _name(key).removesuffix(_SUFFIX)
