"""The folder `/data/training_data/<producer>/`: the dataset of the producer's newest job, never files of two jobs.

Storage cannot replace a folder atomically, so a job holds a lease while it writes. It deletes the record first, then
the former job's files; it writes its own files, and its record last. So a folder with a record is complete, and holds
that job's files only. Training never reads this folder: each job has its own copy of what it trains on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from preprocessing.record import parse_record
from storage import Damaged, NotFound, Storage, keys, records
from storage.leases import Lost, lease

MAX_CONCURRENT = 8

Content = Path | bytes


def replace(storage: Storage, producer: str, job: str, files: Mapping[str, Content], record: bytes) -> None:
    """Make the producer's folder hold exactly `files` (by key) and `record`.

    A job that loses its lease, as after a long pause of its process, leaves the folder to the newer holder.
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


def newest_record(storage: Storage, producer: str) -> dict[str, Any] | None:
    """The newest readable record of the producer's datasets, also while the folder is being replaced.

    Returns:
        None if the producer has no dataset.

    Raises:
        Damaged: all records are damaged.
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
    """Write all files, several concurrently."""

    def put(item: tuple[str, Content]) -> None:
        key, content = item
        before_each()
        if isinstance(content, Path):
            storage.put_file(key, content)
        else:
            storage.put(key, content)

    with ThreadPoolExecutor(MAX_CONCURRENT) as pool:
        list(pool.map(put, files.items()))
