"""The objects of a producer or a job, in all folders of the tree, and the limit on what a producer stores."""

from __future__ import annotations

from collections.abc import Iterator

from core.errors import Refusal
from storage import keys, work_keys
from storage.base import Entry, Storage


def objects_of_producer(storage: Storage, producer: str) -> Iterator[tuple[str, Entry]]:
    """Each of a producer's objects with its kind (see `keys.producer_folders`), found by key; no object is read.

    Files in `loras/` are left out: their names do not tell the producer, and each is a copy of a version.
    """
    jobs = set()
    for kind, prefix in keys.producer_folders(producer).items():
        for entry in storage.list(prefix):
            if kind == "datasets":
                jobs.add(entry.key.split("/")[2])
            yield kind, entry
    for job in sorted(jobs):
        for entry in objects_of_job(storage, job):
            yield "datasets", entry


def is_of_producer(key: str, producer: str) -> bool:
    """Whether an object is in a producer's folders, or a record of their tracks, or a use of their twins."""
    if key.startswith(keys.track_records()):
        return keys.producer_of_record(key) == producer
    return key.startswith((*keys.producer_folders(producer).values(), keys.usage_events(producer)))


def objects_of_job(storage: Storage, job: str) -> Iterator[Entry]:
    """A job's training data, and what its training made besides the adapter; not its record."""
    for prefix in keys.job_folders(job):
        yield from storage.list(prefix)


def submissions_of(storage: Storage, producer: str) -> Iterator[Entry]:
    """The stored objects of a producer's submitted tracks. Without its mark, a submitted track is never made."""
    for folder in (work_keys.open_submissions(), work_keys.submissions(), work_keys.submitted_recordings()):
        for entry in storage.list(folder):
            if work_keys.producer_of_submission(entry.key) == producer:
                yield entry


def check_quota(storage: Storage, producer: str, more: int, limit: int | None) -> None:
    """Check that a producer may store `more` bytes. Uploads under way are not counted.

    Args:
        limit: in bytes; None means no limit.

    Raises:
        Refusal: 507, they would exceed the limit.
    """
    if limit is None:
        return
    used = sum(entry.size for _, entry in objects_of_producer(storage, producer))
    if used + more > limit:
        raise Refusal(
            507,
            f"producer_id: {producer} has {_size(used)} of {_size(limit)} stored, and this would add {_size(more)}; "
            f"delete something (GET /producers/{producer} says what there is)",
        )


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MB" if count >= 2**20 else f"{count} bytes"
