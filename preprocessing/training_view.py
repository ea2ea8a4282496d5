"""The producer's newest dataset, `/data/training_data/<producer>/`: one job's files, never two jobs'.

No storage can replace a folder in one go, so a job writes it under a lease: it deletes the old record, then the former
job's files, then writes the new files, and the new record last. A folder with a record is complete, and all of it is
that job's. Nobody trains from this folder (what a job trains on is its own), so waiting for the lease is all that two
jobs of one producer cost each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from preprocessing.record import parse_record
from storage import Damaged, NotFound, Storage, keys, records
from storage.leases import Lost, lease

AT_ONCE = 8

Content = Path | bytes


def replace(storage: Storage, producer: str, job: str, files: Mapping[str, Content], record: bytes) -> None:
    """Make the producer's folder hold exactly `files` (by key) and `record`.

    If the lease is lost on the way, which takes a process that stood still for long, its new holder is a newer job, and
    this job leaves the folder to it.
    """
    try:
        with lease(storage, keys.training_lease(producer), job) as check:
            storage.delete(keys.training_record(producer))
            for entry in list(storage.list(keys.training_folder(producer))):
                if entry.key not in files:
                    check()
                    storage.delete(entry.key)
            put_all(storage, files, check)
            check()
            storage.put(keys.training_record(producer), record)
    except Lost:
        return


def newest(storage: Storage, producer: str) -> dict[str, Any] | None:
    """The record of the producer's newest dataset that can be read, also while the folder is being replaced.

    None if there is none. Raises Damaged if there are only damaged ones.
    """
    damaged: Damaged | None = None
    try:
        return records.read(storage, keys.training_record(producer), parse_record)[0]
    except NotFound:
        pass
    except Damaged as error:
        damaged = error
    jobs = (entry for entry in storage.list(f"datasets/{producer}/") if entry.key.endswith("/dataset.json"))
    for entry in sorted(jobs, key=lambda entry: entry.modified, reverse=True):
        try:
            return records.read(storage, entry.key, parse_record)[0]
        except NotFound:
            continue
        except Damaged as error:
            damaged = error
    if damaged:
        raise damaged
    return None


def put_all(storage: Storage, files: Mapping[str, Content], before_each: Callable[[], None] = lambda: None) -> None:
    """Write all files, several at once."""

    def put(item: tuple[str, Content]) -> None:
        key, content = item
        before_each()
        if isinstance(content, Path):
            storage.put_file(key, content)
        else:
            storage.put(key, content)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(put, files.items()))
