"""Records that cannot be read: they are damaged, whatever the reason, and stop no listing."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from core.plain_json import decode_object
from storage import Damaged, Storage, keys, leases, records


def _parse(data: bytes, _: str) -> dict[str, object]:
    return decode_object(data)


def test_a_huge_record_is_damaged_and_never_in_memory(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 2**20)
    store.put(keys.job_record("small"), b"{}")
    path = store.local(keys.job_record("small"))
    if path is None:  # in a bucket
        store.put(keys.job_record("huge"), bytes(2**20 + 1))
    else:
        with path.with_name("huge.json").open("wb") as file:
            file.truncate(2**40)  # sparse: it takes no space
    tracemalloc.start()
    try:
        with pytest.raises(Damaged, match="huge"):
            records.read(store, keys.job_record("huge"), _parse)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    found = list(records.read_all(store, store.list("jobs/"), _parse))
    assert [entry.key for entry, _ in found] == [keys.job_record("small")]
    assert records.count_damaged(store)["jobs"] == 1
    store.put(keys.job_record("huge"), b"{}")
    assert records.read(store, keys.job_record("huge"), _parse)[0] == {}
    assert records.count_damaged(store)["jobs"] == 0


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_record_that_cannot_be_parsed_is_damaged(store: Storage, content: bytes) -> None:
    store.put(keys.job_record("j"), content)
    with pytest.raises(Damaged):
        records.read(store, keys.job_record("j"), _parse)
    records.clear_damaged(keys.job_record("j"))


def test_a_huge_lease_is_free(store: Storage, tmp_path: Path) -> None:
    key = keys.lora_lease("p")
    store.put(key, bytes(leases.MAX_BYTES + 1))
    with leases.lease(store, key, "holder") as check:
        check()
    assert store.get(key) == b"null"
