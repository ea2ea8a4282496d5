"""Reading records: what is not as it was written is told of once, counted, and stops nobody who reads many.

Every record is read by `read` or `read_all`. What they find damaged is remembered until it is read well or is gone;
`/status` and the metrics say how much there is.
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
from storage.base import Damaged, Entry, NotFound, Storage

log = logging.getLogger("producer_twin.storage")

T = TypeVar("T")

# Keys of damaged objects that are remembered.
MAX_REMEMBERED = 10_000

_damaged: dict[str, str] = {}
_lock = threading.Lock()


def read(storage: Storage, key: str, parse: Callable[[bytes, str], T]) -> tuple[T, str]:
    """The record and its etag.

    Args:
        parse: makes the record of its bytes and its key. Raises ValueError for what is no record of that key.

    Raises:
        NotFound: there is none.
        Damaged: it is not as it was written.
    """
    try:
        data, etag = storage.get_with_etag(key)
        record = parse(data, key)
    except Damaged:
        report(key, "its digest differs")
        raise
    except ValueError as error:
        report(key, _reason(error))
        raise Damaged(key) from error
    clear(key)
    return record, etag


def read_all(storage: Storage, entries: Iterable[Entry], parse: Callable[[bytes, str], T]) -> Iterator[tuple[Entry, T]]:
    """Those of the objects that are records; the damaged, and those that went meanwhile, are left out."""
    for entry in entries:
        with contextlib.suppress(NotFound, Damaged):
            yield entry, read(storage, entry.key, parse)[0]


def etag_of(storage: Storage, key: str) -> str | None:
    """The etag of an object that may be damaged, for whoever writes over it; None if it is gone."""
    entry = storage.stat(key)
    return entry.etag if entry else None


def _reason(error: ValueError) -> str:
    """Why a record is none, without what it holds."""
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)


def report(key: str, reason: str) -> None:
    """Remember that the object is damaged, and log it unless that was known."""
    kind, reason = key.partition("/")[0], " ".join(reason.split())[:300]
    with _lock:
        known = _damaged.get(key)
        if known is None and len(_damaged) >= MAX_REMEMBERED:
            del _damaged[next(iter(_damaged))]
        _damaged[key] = reason
    if known != reason:
        metrics.DAMAGED.labels(kind).inc()
        log.error("/data/%s is damaged and is left out: %s", key, reason)


def damaged(storage: Storage) -> Counter[str]:
    """How many damaged objects this process knows of, by kind; those that are gone are forgotten."""
    with _lock:
        known = list(_damaged)
    for key in known:
        if storage.stat(key) is None:
            clear(key)
    with _lock:
        return Counter(key.partition("/")[0] for key in _damaged)


def clear(key: str) -> None:
    """Forget that the object was damaged: it is whole, or gone."""
    if key in _damaged:
        with _lock:
            _damaged.pop(key, None)
