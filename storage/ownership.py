"""All that belongs to a producer, or to a job, wherever in the tree it lies."""

from __future__ import annotations

from collections.abc import Iterator

from core.errors import Refusal
from storage import keys
from storage.base import Entry, Storage


def of_producer(storage: Storage, producer: str) -> Iterator[tuple[str, Entry]]:
    """Each of a producer's objects with the kind that it is of, found by names alone: nothing is read.

    The files in `loras/` are left out, since their names do not say whose they are (`adapters.library` knows); every
    one of them is a copy of a version.
    """
    jobs = set()
    for kind, prefix in keys.producer_folders(producer).items():
        for entry in storage.list(prefix):
            if kind == "datasets":
                jobs.add(entry.key.split("/")[2])
            yield kind, entry
    for job in sorted(jobs):
        for entry in of_job(storage, job):
            yield "datasets", entry


def of_job(storage: Storage, job: str) -> Iterator[Entry]:
    """What a job trained on, and what its training made beside the adapter; not its record."""
    for prefix in keys.job_folders(job):
        yield from storage.list(prefix)


def check_room(storage: Storage, producer: str, more: int, limit: int | None) -> None:
    """Whether a producer may store so many bytes more. What comes at the same time is not counted.

    Raises:
        Refusal: 507, saying how much there is and what may be done.
    """
    if limit is None:
        return
    used = sum(entry.size for _, entry in of_producer(storage, producer))
    if used + more > limit:
        raise Refusal(
            507,
            f"producer_id: {producer} has {_size(used)} of {_size(limit)} stored, and this would add {_size(more)}; "
            f"delete something (GET /producers/{producer} says what there is)",
        )


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MB" if count >= 2**20 else f"{count} bytes"
