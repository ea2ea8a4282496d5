"""A span of OpenTelemetry for every call of the storage, within the current request's trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from opentelemetry import trace

from storage.base import Entry, Storage


class TracedStorage:
    """Records a span for each call that goes to another storage.

    A span names the method and the top folder of the key, never the key, which holds the producer's id. That is also
    why exceptions are not recorded, and why OpenTelemetry's instrumentation of botocore is not used for S3: it records
    the URL of a request that could not be sent.

    Attributes:
        storage: the storage that does the work.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._tracer = trace.get_tracer("producer_twin.storage")

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        with self._span("put", key):
            return self.storage.put(key, data, if_absent=if_absent, if_match=if_match)

    def put_file(self, key: str, source: Path | BinaryIO, *, if_absent: bool = False) -> str:
        with self._span("put_file", key):
            return self.storage.put_file(key, source, if_absent=if_absent)

    def get(self, key: str) -> bytes:
        with self._span("get", key):
            return self.storage.get(key)

    def get_with_etag(self, key: str, max_bytes: int | None = None) -> tuple[bytes, str]:
        with self._span("get_with_etag", key):
            return self.storage.get_with_etag(key, max_bytes)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        with self._span("get_range", key):
            return self.storage.get_range(key, start, length)

    def get_file(self, key: str, path: Path) -> None:
        with self._span("get_file", key):
            self.storage.get_file(key, path)

    def stat(self, key: str) -> Entry | None:
        with self._span("stat", key):
            return self.storage.stat(key)

    def list(self, prefix: str, after: str = "", limit: int | None = None) -> Iterator[Entry]:
        # Between two entries the caller's own work runs, so the span must not be the current one.
        span = self._tracer.start_span("storage.list", attributes=_attributes(prefix))
        try:
            yield from self.storage.list(prefix, after, limit)
        finally:
            span.end()

    def holds(self, prefix: str) -> bool:
        with self._span("holds", prefix):
            return self.storage.holds(prefix)

    def delete(self, key: str) -> bool:
        with self._span("delete", key):
            return self.storage.delete(key)

    def tidy(self, seconds: float) -> int:
        return self.storage.tidy(seconds)

    def local(self, key: str) -> Path | None:
        return self.storage.local(key)

    def link(self, key: str, seconds: int, media_type: str) -> str | None:
        return self.storage.link(key, seconds, media_type)

    def upload_link(self, key: str, seconds: int, size: int) -> tuple[str, dict[str, str]] | None:
        return self.storage.upload_link(key, seconds, size)

    def _span(self, method: str, key: str) -> AbstractContextManager[trace.Span]:
        return self._tracer.start_as_current_span(
            f"storage.{method}",
            attributes=_attributes(key),
            record_exception=False,
            set_status_on_exception=False,
        )


def _attributes(key: str) -> dict[str, str]:
    return {"storage.kind": key.split("/")[0]}
