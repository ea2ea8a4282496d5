"""The producer's newest dataset, `/data/training_data/<producer>/`: one job's files, never two jobs'.

No storage can replace a folder in one go, so those who write it take turns. Whose turn it is, is said by one object,
which is taken and given back by conditional writes, and renewed while its owner lives; one that is not renewed for
EXPIRY was left by a process that died, and is taken over. In a turn, the record goes first, then what the former job
left, then the new files come, and the new record last: a folder with a record is complete, and all of that job.
Nobody trains from this folder (what a job trains on is its own), so waiting for a turn is all that two jobs of one
producer cost each other.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from storage import AlreadyExists, Changed, NotFound, Storage, Unavailable, keys

AT_ONCE = 8
POLL = 0.5  # seconds
RENEW = 5.0
EXPIRY = 30.0

Content = Path | bytes


class _Lost(Exception):
    """Somebody else has the turn now."""


def replace(storage: Storage, producer: str, job: str, files: Mapping[str, Content], record: bytes) -> None:
    """Make the producer's folder hold exactly `files` (by key) and `record`.

    If the turn is lost on the way, which takes a process that stood still for EXPIRY, whoever has it now is newer, and
    this job leaves the folder to them.
    """
    try:
        with _turn(storage, producer, job) as check:
            storage.delete(keys.training_record(producer))
            for entry in list(storage.list(keys.training_folder(producer))):
                if entry.key not in files:
                    check()
                    storage.delete(entry.key)
            put_all(storage, files, check)
            check()
            storage.put(keys.training_record(producer), record)
    except _Lost:
        return


def newest(storage: Storage, producer: str) -> bytes | None:
    """The record of the producer's newest dataset, also while the folder is being replaced; None if there is none."""
    try:
        return storage.get(keys.training_record(producer))
    except NotFound:
        pass
    jobs = (entry for entry in storage.list(f"datasets/{producer}/") if entry.key.endswith("/dataset.json"))
    for entry in sorted(jobs, key=lambda entry: entry.modified, reverse=True):
        try:
            return storage.get(entry.key)
        except NotFound:
            continue
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


@contextmanager
def _turn(storage: Storage, producer: str, job: str) -> Iterator[Callable[[], None]]:
    """Wait for the turn and hold it. Yields a function that raises _Lost once it is somebody else's."""
    key = keys.training_turn(producer)
    etag = _take(storage, key, job)
    stop, lost = threading.Event(), threading.Event()

    def renew() -> None:
        nonlocal etag
        while not stop.wait(RENEW):
            try:
                etag = storage.put(key, _claim(job), if_match=etag)
            except Changed:
                lost.set()
                return
            except Unavailable:
                continue  # the next one may succeed before EXPIRY; the work itself meets the same trouble

    def check() -> None:
        if lost.is_set():
            raise _Lost

    renewer = threading.Thread(target=renew, daemon=True)
    renewer.start()
    try:
        yield check
    finally:
        stop.set()
        renewer.join()
        with suppress(Changed):
            storage.put(key, b"null", if_match=etag)


def _take(storage: Storage, key: str, job: str) -> str:
    """Wait until the turn is free, or has not been renewed for EXPIRY as seen from here; return its etag."""
    seen, since = "", 0.0
    while True:
        try:
            content, etag = storage.get_with_etag(key)
        except NotFound:
            try:
                return storage.put(key, _claim(job), if_absent=True)
            except AlreadyExists:
                continue
        if etag != seen:
            seen, since = etag, time.monotonic()
        if content == b"null" or time.monotonic() - since > EXPIRY:
            try:
                return storage.put(key, _claim(job), if_match=etag)
            except Changed:
                continue
        time.sleep(POLL)


def _claim(job: str) -> bytes:
    # Never the same twice, so that a renewal is seen.
    return json.dumps({"job_id": job, "token": uuid.uuid4().hex}).encode()
