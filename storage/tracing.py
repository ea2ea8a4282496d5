"""Every visit to storage as a span of the request's trace (OpenTelemetry), at no cost where nobody collects them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from opentelemetry import trace

T = TypeVar("T")

_METHODS = ("put", "put_file", "get", "get_with_etag", "get_range", "get_file", "stat", "list", "holds", "delete")


def traced(storage: T) -> T:
    """The same storage, whose visits are told of. What is told is the kind of thing that a key names, not whose."""
    tracer = trace.get_tracer("producer_twin.storage")

    def telling(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def visit(key: str, *args: Any, **options: Any) -> Any:
            with tracer.start_as_current_span(
                f"storage.{name}",
                attributes={"storage.kind": key.split("/")[0]},
                record_exception=False,  # its text has the key; and that something is not there is no failure
                set_status_on_exception=False,
            ):
                return method(key, *args, **options)

        return visit

    for name in _METHODS:
        setattr(storage, name, telling(name, getattr(storage, name)))
    return storage
