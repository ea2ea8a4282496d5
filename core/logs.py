"""Logging of every process: one line an event, as text or JSON, with the id of its request or job.

A request's id is passed from the front to the runners as W3C baggage, which BentoML's client forwards. A training
process works on one job, whose id it sets once.
"""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from opentelemetry import baggage, context
from pydantic import ValidationError
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter
from starlette.requests import ClientDisconnect

from core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.settings import Settings

_REQUEST = "producer_twin.request_id"
_job = ""
_facts: ContextVar[dict[str, Any] | None] = ContextVar("facts", default=None)

_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s%(ids)s"
_JSON = "{levelname}{name}{message}{process}"
_NAMES = {"timestamp": "time", "levelname": "level", "name": "logger"}
# The logger to which BentoML writes the traceback of an endpoint's exception.
_TRACEBACKS = "bentoml._internal.server.http_app"
# The end of the title of the ValidationError that BentoML raises for a request body.
_BODY_TITLE = "IODescriptor"
# Loggers with handlers of their own.
_OTHERS = ("bentoml", "uvicorn.error", "circus")


def configure(settings: Settings, job_id: str = "") -> None:
    """Set up this process's log. Each process calls it when it starts, a training process with its job's id."""
    global _job
    _job = job_id or _job
    own = logging.getLogger("producer_twin")
    own.setLevel(settings.log_level)
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler(sys.stderr))
    logging.getLogger(_TRACEBACKS).addFilter(_is_not_client_error)
    as_json = settings.log_format == "json"
    handlers = list(root.handlers)
    if as_json:
        handlers += [handler for name in _OTHERS for handler in logging.getLogger(name).handlers]
    for handler in dict.fromkeys(handlers):
        if not isinstance(handler.formatter, _Text):
            handler.setFormatter(_json() if as_json else _Text(handler.formatter))
        if not any(isinstance(known, _Ids) for known in handler.filters):
            handler.addFilter(_Ids())


@contextmanager
def request(request_id: str, facts: dict[str, Any] | None = None) -> Iterator[None]:
    """Add this request's id to the log lines of the block, in this process and in the processes that it calls.

    Args:
        facts: the dictionary that `note` adds to.
    """
    token = context.attach(baggage.set_baggage(_REQUEST, request_id))
    noted = _facts.set(facts)
    try:
        yield
    finally:
        _facts.reset(noted)
        context.detach(token)


def note(**facts: Any) -> None:
    """Add facts to the log line of the current request."""
    known = _facts.get()
    if known is not None:
        known.update(facts)


def request_id() -> str:
    """The id of the current request; empty outside of one."""
    return str(baggage.get_baggage(_REQUEST) or "")


def _json() -> logging.Formatter:
    return JsonFormatter(
        _JSON, style="{", rename_fields=_NAMES, timestamp=True, reserved_attrs=[*RESERVED_ATTRS, "ids", "taskName"]
    )


def _is_not_client_error(record: logging.LogRecord) -> bool:
    """False for an invalid body and a closed connection.

    The request log has a line for each, and their tracebacks would let clients fill the log with text of their own.
    """
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, ValidationError):
        return not error.title.endswith(_BODY_TITLE)
    return not isinstance(error, ClientDisconnect)


class _Ids(logging.Filter):
    """Adds the request's and the job's id to each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        ids = {"request_id": request_id(), "job_id": _job}
        known = {name: value for name, value in ids.items() if value}
        record.__dict__.update(known)
        record.ids = "".join(f" {name}={value}" for name, value in known.items())
        return True


class _Text(logging.Formatter):
    """Formats the service's own records as one line each, even if they contain a client's text; tracebacks keep theirs.

    Args:
        others: the handler's former formatter, which formats all other records.
    """

    def __init__(self, others: logging.Formatter | None) -> None:
        super().__init__(_TEXT)
        self._others = others or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        own = record.name.startswith("producer_twin")
        return super().format(record) if own else self._others.format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))
