"""Deleting uploads, datasets and tracks by age, as the operator's settings say. Twins are never deleted by age."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from core.settings import Settings
from storage import Entry, Storage, Unavailable, keys, webhooks, work_keys
from storage.record_index import RecordIndex
from training.jobs.store import Jobs

log = logging.getLogger("producer_twin.retention")

INTERVAL = timedelta(hours=1)
# A half-written object this old has no writer any more.
_HALF_WRITTEN_AGE = timedelta(days=1)

# Answers are kept for a day for requests that are sent again; a lease this old is that of a process that has ended.
_WORK_AGE = timedelta(days=1)


def clean(storage: Storage, jobs: Jobs, settings: Settings, delete: Callable[[str], bool]) -> dict[str, int]:
    """Delete expired objects and return how many, by kind. It is safe on several replicas at once.

    Args:
        delete: deletes an object from storage, and from where it waits for storage.
    """
    deleted: Counter[str] = Counter()
    in_use = None
    for kind, days, folders in (
        ("uploads", settings.keep_uploads_days, ["uploads/"]),
        ("datasets", settings.keep_datasets_days, ["datasets/", "training_data/", "job_data/", "tag_cache/"]),
        (
            "outputs",
            settings.keep_outputs_days,
            ["outputs/", "acestep_tasks/", work_keys.submissions()],
        ),
    ):
        if days is None:
            continue
        oldest = datetime.now(UTC) - timedelta(days=days)
        for entry in _older(storage, folders, oldest):
            if in_use is None:
                in_use = _prefixes_in_use(jobs)
            if not entry.key.startswith(in_use):
                deleted[kind] += delete(entry.key)
                for key in keys.track_companions(entry.key):
                    delete(key)
    a_day_ago = datetime.now(UTC) - _WORK_AGE
    for entry in _older(storage, [work_keys.idempotent_answers(), work_keys.process_leases()], a_day_ago):
        deleted["kept answers and leases"] += storage.delete(entry.key)
    # A process that ended between a track's deletion and the index's left a copy there.
    RecordIndex(storage, keys.TRACK_RECORDS, keys.TRACK_INDEX).sweep()
    deleted["webhooks"] = webhooks.clean(storage)
    deleted["half-written"] = storage.tidy(_HALF_WRITTEN_AGE.total_seconds())
    return {kind: count for kind, count in deleted.items() if count}


def keep_clean(storage: Storage, jobs: Jobs, settings: Settings, delete: Callable[[str], bool]) -> None:
    """Call `clean` every hour in a daemon thread."""

    def run() -> None:
        while True:
            time.sleep(INTERVAL.total_seconds())
            try:
                if deleted := clean(storage, jobs, settings, delete):
                    log.info("deleted by age: %s", deleted)
            except Unavailable as error:
                log.warning("nothing was deleted by age: %s", error)
            except Exception:
                log.exception("nothing was deleted by age")

    threading.Thread(target=run, name="retention", daemon=True).start()


def _older(storage: Storage, folders: list[str], oldest: datetime) -> Iterator[Entry]:
    for folder in folders:
        yield from (entry for entry in storage.list(folder) if entry.modified < oldest)


def _prefixes_in_use(jobs: Jobs) -> tuple[str, ...]:
    """Prefixes of the keys that open jobs read and write."""
    used: list[str] = []
    for record in jobs.open():
        used += [path.removeprefix(keys.PATH_PREFIX) for path in record.request.upload_paths or []]
        for job in filter(None, (record.job_id, record.request.dataset_job_id)):
            used += [f"datasets/{record.producer_id}/{job}/", *keys.job_folders(job)]
        used += [keys.training_folder(record.producer_id), "tag_cache/"]
    return tuple(used)
