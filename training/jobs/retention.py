"""What goes by age: uploads, datasets and tracks, where the operator says so. Twins never do."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from core.settings import Settings
from storage import Entry, Storage, Unavailable, keys
from training.jobs.store import Jobs

log = logging.getLogger("producer_twin.retention")

EVERY = timedelta(hours=1)
# What a writer left half-written this long ago, nobody writes any more.
_DEAD = timedelta(days=1)


def clean(storage: Storage, jobs: Jobs, settings: Settings) -> dict[str, int]:
    """Remove what is older than it may be; how many objects went, by kind. Safe on several replicas at once."""
    gone: Counter[str] = Counter()
    kept = None
    for kind, days, folders in (
        ("uploads", settings.keep_uploads_days, ["uploads/"]),
        ("datasets", settings.keep_datasets_days, ["datasets/", "training_data/", "job_data/", "tag_cache/"]),
        ("outputs", settings.keep_outputs_days, ["outputs/"]),
    ):
        if days is None:
            continue
        oldest = datetime.now(UTC) - timedelta(days=days)
        for entry in _older(storage, folders, oldest):
            if kept is None:
                kept = _in_use(jobs)
            if not entry.key.startswith(kept):
                gone[kind] += storage.delete(entry.key)
    gone["half-written"] = storage.tidy(_DEAD.total_seconds())
    return {kind: count for kind, count in gone.items() if count}


def keep_clean(storage: Storage, jobs: Jobs, settings: Settings) -> None:
    """Every hour for as long as the process lives, in a thread of its own."""

    def work() -> None:
        while True:
            threading.Event().wait(EVERY.total_seconds())
            try:
                if gone := clean(storage, jobs, settings):
                    log.info("removed by age: %s", gone)
            except Unavailable as error:
                log.warning("nothing was removed by age: %s", error)
            except Exception:
                log.exception("nothing was removed by age")

    threading.Thread(target=work, name="retention", daemon=True).start()


def _older(storage: Storage, folders: list[str], oldest: datetime) -> Iterator[Entry]:
    for folder in folders:
        yield from (entry for entry in storage.list(folder) if entry.modified < oldest)


def _in_use(jobs: Jobs) -> tuple[str, ...]:
    """What jobs that are under way read and write, as the beginnings of keys."""
    used: list[str] = []
    for record in jobs.open():
        used += [path.removeprefix(keys.ROOT) for path in record.request.upload_paths or []]
        for job in filter(None, (record.job_id, record.request.dataset_job_id)):
            used += [f"datasets/{record.producer_id}/{job}/", *keys.job_folders(job)]
        used += [keys.training_folder(record.producer_id), "tag_cache/"]
    return tuple(used)
