"""Reading records (JSON objects and other small files): a damaged one is logged once, counted, and left out of lists.

Every record is read by `read` or `read_all`. They remember the keys of damaged records until a record can be read again
or is deleted; `GET /status` and the metrics report how many there are.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from pydantic import ValidationError

from core import metrics
from core.recent import Recent
from storage.base import Damaged, Entry, NotFound, Storage

log = logging.getLogger("producer_twin.storage")

T = TypeVar("T")

# A larger record counts as damaged, so that it is never held in memory.
MAX_RECORD_BYTES = 64 * 2**20
MAX_REMEMBERED = 10_000  # keys of damaged objects

_damaged = Recent[str, str](MAX_REMEMBERED)
_lock = threading.Lock()


def read(storage: Storage, key: str, parse: Callable[[bytes, str], T]) -> tuple[T, str]:
    """The record and its etag.

    Args:
        parse: makes the record from its bytes and its key. Raises ValueError if they are not a record of that key.

    Raises:
        NotFound: there is none.
        Damaged: it is not as it was written, cannot be parsed, or has more than MAX_RECORD_BYTES.
    """
    try:
        data, etag = storage.get_with_etag(key, MAX_RECORD_BYTES)
        record = parse(data, key)
    except Damaged as error:
        report_damaged(key, error.reason)
        raise
    except ValueError as error:
        report_damaged(key, _reason(error))
        raise Damaged(key) from error
    clear_damaged(key)
    return record, etag


def read_all(storage: Storage, entries: Iterable[Entry], parse: Callable[[bytes, str], T]) -> Iterator[tuple[Entry, T]]:
    """Each entry with its record; damaged records, and those deleted meanwhile, are left out."""
    for entry in entries:
        with contextlib.suppress(NotFound, Damaged):
            yield entry, read(storage, entry.key, parse)[0]


def etag_of(storage: Storage, key: str) -> str | None:
    """The etag of an object that may be damaged, to overwrite it on a condition; None if there is no object."""
    entry = storage.stat(key)
    return entry.etag if entry else None


def _reason(error: ValueError) -> str:
    """Why a record cannot be parsed, without repeating its contents."""
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)


def report_damaged(key: str, reason: str) -> None:
    """Remember that the object is damaged; log and count it the first time."""
    kind, reason = key.partition("/")[0], " ".join(reason.split())[:300]
    with _lock:
        known = _damaged.get(key)
        _damaged[key] = reason
    if known != reason:
        metrics.DAMAGED.labels(kind).inc()
        log.error("/data/%s is damaged and is left out: %s", key, reason)


def count_damaged(storage: Storage) -> Counter[str]:
    """The number of damaged objects that this process has found and that still exist, by top folder."""
    with _lock:
        known = list(_damaged)
    for key in known:
        if storage.stat(key) is None:
            clear_damaged(key)
    with _lock:
        return Counter(key.partition("/")[0] for key in _damaged)


def clear_damaged(key: str) -> None:
    """Forget that the object was damaged, since it is whole again or deleted."""
    if key in _damaged:
        with _lock:
            _damaged.pop(key, None)
