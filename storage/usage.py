"""How often a producer's twins are used: tracks and seconds, by twin and month.

Each use is an object of its own, whose key says all of it, so that replicas never wait for each other and no use is
lost. Reading lists them. Where they are many, those that are old enough are folded into one record, which counts each
of them once whenever the process ends: the record names the uses that it counts until these are deleted.
"""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, Field

from contract import TwinUsage
from storage import keys, records
from storage.base import AlreadyExists, Changed, Entry, NotFound, Storage

# With more uses than this, reading folds them.
FOLD_AT = 500
# A use that was stored in doubt may be stored once more by a retry, which must find the first.
FOLD_AGE = timedelta(hours=1)
MAX_FOLDED = 1_000  # at once
_READS = 5
_EVENT = re.compile(r"usage/[^/]+/events/(?P<month>\d{4}-\d\d)/(?P<model>[^/]+)/[0-9a-f]{32}_(?P<milliseconds>\d+)")


class Used(BaseModel):
    tracks: int = 0
    milliseconds: int = 0


class UsageCounts(BaseModel):
    """The record.

    Attributes:
        months: the uses by month and model.
        folded: keys of uses that `months` counts, and that may not be deleted yet.
    """

    months: dict[str, dict[str, Used]] = Field(default_factory=dict)
    folded: list[str] = Field(default_factory=list)


@dataclass(frozen=True)
class Use:
    """One use of a twin, by its storage key."""

    month: str
    model: str
    milliseconds: int


def new_event(lora_id: str, seconds: float) -> tuple[str, bytes]:
    """The key and the content of a use of a twin now, for a track of this length."""
    producer, _, model = lora_id.partition(":")
    name = f"{uuid.uuid4().hex}_{round(seconds * 1000)}"
    return keys.usage_event(producer, f"{datetime.now(UTC):%Y-%m}", model, name), f"{seconds:g} s\n".encode()


def usage_of(storage: Storage, producer: str) -> list[TwinUsage]:
    """The uses of a producer's twins, the newest month first."""
    counts, events = _consistent(storage, producer)
    if len(events) > FOLD_AT:
        fold(storage, producer)
    tracks: Counter[tuple[str, str]] = Counter()
    milliseconds: Counter[tuple[str, str]] = Counter()
    for month, models in counts.months.items():
        for model, used in models.items():
            tracks[month, model] += used.tracks
            milliseconds[month, model] += used.milliseconds
    for use in _uses(entry.key for entry in events):
        tracks[use.month, use.model] += 1
        milliseconds[use.month, use.model] += use.milliseconds
    rows = [
        TwinUsage(month=month, lora_id=f"{producer}:{model}", tracks=count, seconds=milliseconds[month, model] / 1000)
        for (month, model), count in sorted(tracks.items())
    ]
    return sorted(rows, key=lambda row: row.month, reverse=True)


def fold(storage: Storage, producer: str) -> int:
    """Count the oldest uses in the record, and delete them. Returns how many; 0 if another process was faster."""
    counts, etag = _counts(storage, producer)
    for key in counts.folded:  # another process may have ended before it deleted them
        storage.delete(key)
    oldest = datetime.now(UTC) - FOLD_AGE
    entries = storage.list(keys.usage_events(producer))
    old = [entry.key for entry in entries if entry.modified < oldest and _EVENT.fullmatch(entry.key)][:MAX_FOLDED]
    if not old:
        return 0
    for use in _uses(old):
        used = counts.months.setdefault(use.month, {}).setdefault(use.model, Used())
        used.tracks += 1
        used.milliseconds += use.milliseconds
    counts.folded = old
    key, data = keys.usage_counts(producer), counts.model_dump_json().encode()
    try:
        if etag is None:
            storage.put(key, data, if_absent=True)
        else:
            storage.put(key, data, if_match=etag)
    except (AlreadyExists, Changed):
        return 0
    for folded in old:
        storage.delete(folded)
    return len(old)


def delete_usage(storage: Storage, producer: str) -> list[str]:
    """Delete all of it. Returns the keys that were deleted."""
    stored = [entry.key for entry in storage.list(keys.usage_events(producer))]
    return [key for key in (*stored, keys.usage_counts(producer)) if storage.delete(key)]


def _consistent(storage: Storage, producer: str) -> tuple[UsageCounts, list[Entry]]:
    """The record, and the uses that it does not count, as they were at one moment."""
    counts, etag = _counts(storage, producer)
    for _ in range(_READS):
        events = list(storage.list(keys.usage_events(producer)))
        after, etag_after = _counts(storage, producer)
        if etag_after == etag:
            break
        counts, etag = after, etag_after  # a fold came in between
    counted = set(counts.folded)
    return counts, [entry for entry in events if entry.key not in counted]


def _counts(storage: Storage, producer: str) -> tuple[UsageCounts, str | None]:
    with suppress(NotFound):
        return records.read(storage, keys.usage_counts(producer), lambda data, _: UsageCounts.model_validate_json(data))
    return UsageCounts(), None


def _uses(stored: Iterable[str]) -> Iterable[Use]:
    for key in stored:
        if found := _EVENT.fullmatch(key):
            yield Use(found["month"], found["model"], int(found["milliseconds"]))
