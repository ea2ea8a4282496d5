"""The folder of the producer's newest dataset, with concurrent and dying writers."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from preprocessing import training_folder
from storage import Storage, keys, leases
from tests.api import wait_until
from tests.sounds import written
from tests.unit.preprocessing.helpers import make, tone


def test_two_jobs_never_mix_in_the_folder(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "POLL", 0.01)

    def publish(job: int) -> None:
        files: dict[str, training_folder.Content] = {
            keys.training_audio("p", number): f"{job}".encode() for number in range(5 + job)
        }
        training_folder.replace(store, "p", str(job), files, f"{job}".encode())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(publish, range(8)))
    found = {entry.key: store.get(entry.key) for entry in store.list("training_data/p/")}
    newest = found[keys.training_record("p")]
    assert set(found.values()) == {newest}
    assert len(found) == 6 + int(newest)


def test_the_lease_of_a_dead_process_is_taken_over(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "POLL", 0.01)
    monkeypatch.setattr(leases, "EXPIRY", 0.3)
    monkeypatch.setattr(leases, "RENEW", 0.05)
    store.put(keys.training_lease("p"), b'{"by": "dead", "token": "a"}')
    start = time.monotonic()
    training_folder.replace(store, "p", "alive", {keys.training_audio("p", 0): b"new"}, b"record")
    assert time.monotonic() - start >= 0.3
    assert store.get(keys.training_record("p")) == b"record"
    # A holder that paused and lost the lease notices, and stops.
    with leases.lease(store, keys.training_lease("p"), "slow") as check:
        check()
        store.put(keys.training_lease("p"), b'{"by": "faster", "token": "b"}')
        with pytest.raises(leases.Lost):
            wait_until(check, pause=0.01)
    assert store.get(keys.training_lease("p")) == b'{"by": "faster", "token": "b"}'


@pytest.mark.slow
def test_the_newest_record_is_found_while_the_folder_is_replaced(store: Storage, tmp_path: Path) -> None:
    assert training_folder.newest_record(store, "p") is None
    store.put("uploads/p/u/a.wav", written(tone(2)))
    for job in ("b", "a"):
        made = make(store, tmp_path, job, upload_paths=["/data/uploads/p/u/a.wav"])
        for _ in range(2):
            assert training_folder.newest_record(store, "p") == made.record
            store.delete(keys.training_record("p"))  # as while the folder is being replaced
