"""The index of records: lookups, concurrent writers, and a process that ends during a write."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from storage import Changed, Entry, Storage, record_index
from storage.record_index import Copy, RecordIndex

RECORDS, INDEX = "track_records/", "track_index/"
FOLDER = f"{RECORDS}shared/"


@pytest.fixture(autouse=True)
def small_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MAX_LEAF": 12, "SEALED_LEAF": 10, "OVERLAP": 4}.items():
        monkeypatch.setattr(record_index, name, value)


@pytest.fixture
def index(store: Storage) -> RecordIndex:
    return RecordIndex(store, RECORDS, INDEX)


def stored(store: Storage, number: int, text: str = "{}") -> tuple[str, Copy]:
    """Write a record."""
    key = f"{FOLDER}{number:04d}.json"
    return key, Copy(store.put(key, text.encode()), text)


def entries(store: Storage) -> list[Entry]:
    return list(store.list(FOLDER))


def missed(index: RecordIndex, page: int) -> list[str]:
    """Records that a page of this size does not find, wherever it begins."""
    listed = entries(index.storage)
    starts = range(0, max(1, len(listed) - page + 1), 2)
    pages = [listed[start : start + page] for start in starts]
    return [entry.key for each in pages for entry in each if entry.key not in index.find(each)]


@pytest.mark.parametrize("order", ["newest last", "newest first", "shuffled", "at once"])
@pytest.mark.slow
def test_whatever_comes_in_whatever_order_is_found(index: RecordIndex, store: Storage, order: str) -> None:
    numbers = list(range(40))
    if order == "newest last":
        numbers.reverse()
    if order == "shuffled":
        random.Random(7).shuffle(numbers)
    copies = [stored(store, number) for number in numbers]
    for some in [copies] if order == "at once" else [copies[at : at + 3] for at in range(0, 40, 3)]:
        index.put(dict(some))
    assert len(list(store.list(INDEX))) > 3
    for page in (5, 40):
        assert missed(index, page) == []


def test_a_changed_record_is_not_found_until_its_copy_is(index: RecordIndex, store: Storage) -> None:
    index.put(dict(stored(store, number) for number in range(30)))
    key, copy = stored(store, 17, '{"title": "x"}')
    assert set(missed(index, 5)) == {key}
    index.put({key: copy})
    assert missed(index, 5) == [] and index.find(entries(store)[15:20])[key] == copy.text


def test_what_is_discarded_is_in_no_leaf(index: RecordIndex, store: Storage) -> None:
    copies = dict(stored(store, number) for number in range(30))
    index.put(copies)
    before = entries(store)
    index.discard(copies)
    for entry in before:
        assert index.find([entry]) == {}


def test_a_sweep_leaves_what_is_stored(index: RecordIndex, store: Storage) -> None:
    index.put(dict(stored(store, number) for number in range(40)))
    before = entries(store)
    for entry in before[10:30]:
        store.delete(entry.key)
    assert index.sweep() >= 20
    assert {entry.key for entry in before if index.find([entry])} == {
        entry.key for entry in (*before[:10], *before[30:])
    }
    assert index.sweep() == 0
    for entry in entries(store):
        store.delete(entry.key)
    index.sweep()
    assert not list(store.list(INDEX))


def test_writers_at_once_leave_an_index_that_readers_complete(index: RecordIndex, store: Storage) -> None:
    """A leaf that is split while another writer adds to it may lack what that one added."""
    copies = [stored(store, number) for number in range(40)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda part: index.put(dict(copies[part::4])), range(4)))
    for _ in range(2):
        lacking = set(missed(index, 40))
        index.put({key: copy for key, copy in copies if key in lacking})
    assert missed(index, 40) == []


@pytest.mark.parametrize("last", range(1, 8))
@pytest.mark.slow
def test_a_process_that_ends_while_it_splits_a_leaf(store: Storage, index: RecordIndex, last: int) -> None:
    """Whichever write is its last one, the others find what they did, and can go on."""
    copies = dict(stored(store, number) for number in range(40))
    first = dict(list(copies.items())[::4])
    index.put(first)
    failing = RecordIndex(Ending(store, last), RECORDS, INDEX)
    with suppress(Ended):
        failing.put(copies)
    assert not set(missed(index, 40)) & set(first)
    for _ in range(2):
        index.sweep()
        index.put(copies)
    assert missed(index, 40) == []
    sizes = [
        len(index._read(leaf.key[: leaf.key.rindex("/") + 1], record_index._bound(leaf.key))[0])
        for leaf in store.list(INDEX)
    ]
    assert max(sizes) <= 12 + 4


class Ended(Exception):
    """The process was killed."""


class Ending:
    """A storage whose process is killed after some writes."""

    def __init__(self, storage: Storage, writes: int) -> None:
        self._storage, self._left = storage, writes

    def put(self, *args: Any, **options: Any) -> str:
        if not self._left:
            raise Ended
        self._left -= 1
        return self._storage.put(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


def test_writers_that_are_always_in_the_way_are_given_up(index: RecordIndex, store: Storage) -> None:
    class Contended(Ending):
        def put(self, *args: Any, **options: Any) -> str:
            raise Changed("always")

    RecordIndex(Contended(store, 0), RECORDS, INDEX).put(dict([stored(store, 1)]))
    assert index.find(entries(store)) == {}
