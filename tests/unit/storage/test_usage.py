"""Usage of twins: every use is counted once, whoever counts at the same time and whenever a process ends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from contract import TwinUsage
from storage import Storage, keys, usage
from storage.usage import delete_usage, fold, new_event, usage_of


@pytest.fixture(autouse=True)
def uses_are_old_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "FOLD_AGE", timedelta(seconds=-1))


def use(store: Storage, lora_id: str = "ada:night", seconds: float = 10.0, month: str | None = None) -> None:
    key, data = new_event(lora_id, seconds)
    if month:
        key = keys.usage_event("ada", month, lora_id.partition(":")[2], key.rpartition("/")[2])
    store.put(key, data)


def tracks(store: Storage) -> int:
    return sum(row.tracks for row in usage_of(store, "ada"))


def test_uses_are_counted_by_twin_and_month(store: Storage) -> None:
    assert usage_of(store, "ada") == []
    for lora_id, seconds, month in (
        ("ada:night", 10.5, "2026-10"),
        ("ada:night", 20, "2026-10"),
        ("ada:day", 1, "2026-10"),
        ("ada:night", 3, "2026-11"),
    ):
        use(store, lora_id, seconds, month)
    use(store, "ada-2:night", 60)
    expected = [
        TwinUsage(month="2026-11", lora_id="ada:night", tracks=1, seconds=3),
        TwinUsage(month="2026-10", lora_id="ada:day", tracks=1, seconds=1),
        TwinUsage(month="2026-10", lora_id="ada:night", tracks=2, seconds=30.5),
    ]
    assert usage_of(store, "ada") == expected
    assert fold(store, "ada") == 4
    assert not list(store.list(keys.usage_events("ada")))
    assert usage_of(store, "ada") == expected
    use(store, "ada:day", 2, "2026-10")
    assert usage_of(store, "ada")[1] == TwinUsage(month="2026-10", lora_id="ada:day", tracks=2, seconds=3)


def test_many_uses_are_folded_when_they_are_read(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "FOLD_AT", 5)
    for _ in range(6):
        use(store)
    assert tracks(store) == 6
    assert not list(store.list(keys.usage_events("ada")))
    assert tracks(store) == 6


def test_new_uses_are_not_folded(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry may store one of them again."""
    monkeypatch.setattr(usage, "FOLD_AGE", timedelta(hours=1))
    use(store)
    assert fold(store, "ada") == 0
    assert tracks(store) == 1


class EndsAt:
    """A storage whose process ends at the nth write or deletion."""

    def __init__(self, storage: Storage, at: int) -> None:
        self._storage = storage
        self._left = at

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._storage, name)
        if name not in ("put", "delete"):
            return method

        def counted(*args: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise KeyboardInterrupt
            return method(*args, **options)

        return counted


@pytest.mark.parametrize("at", range(5))
def test_a_fold_that_is_broken_off_counts_each_use_once(store: Storage, at: int) -> None:
    for _ in range(3):
        use(store)
    with suppress(KeyboardInterrupt):
        fold(EndsAt(store, at), "ada")  # type: ignore[arg-type]
    assert tracks(store) == 3
    use(store)
    assert tracks(store) == 4
    fold(store, "ada")
    assert tracks(store) == 4
    fold(store, "ada")
    assert (tracks(store), len(list(store.list(keys.usage_events("ada"))))) == (4, 0)


def test_uses_that_come_while_others_fold_and_read(store: Storage) -> None:
    def work(number: int) -> None:
        for _ in range(5):
            use(store)
            if number % 2:
                fold(store, "ada")
            tracks(store)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert tracks(store) == 30
    assert usage_of(store, "ada")[0].seconds == 300


def test_strange_objects_among_the_uses_count_for_nothing(store: Storage) -> None:
    use(store)
    for name in ("2026-11/night/x", "2026-11/night/deep/" + "0" * 32 + "_1", "x"):
        store.put(f"usage/ada/events/{name}", b"")
    assert tracks(store) == 1
    fold(store, "ada")
    assert tracks(store) == 1


def test_the_usage_of_a_producer_is_deleted(store: Storage) -> None:
    use(store)
    fold(store, "ada")
    use(store)
    assert len(delete_usage(store, "ada")) == 2
    assert usage_of(store, "ada") == []
