"""How every process of the service writes its log: a line an event, as text or as JSON, with the ids to follow it by.

A request's id travels with it from the front to the runners as W3C baggage, which BentoML's client sends on. A job's
id is its training process's own.
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
# Where BentoML writes the traceback of whatever an endpoint raises, and what it calls a body in its errors.
_TRACEBACKS, _BODY = "bentoml._internal.server.http_app", "IODescriptor"
# What writes by handlers of its own.
_OTHERS = ("bentoml", "uvicorn.error", "circus")


def configure(settings: Settings, job_id: str = "") -> None:
    """Give this process's log its form. Each process calls it as it starts; one that works on a job says on which."""
    global _job
    _job = job_id or _job
    own = logging.getLogger("producer_twin")
    own.setLevel(settings.log_level)
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler(sys.stderr))
    logging.getLogger(_TRACEBACKS).addFilter(_is_no_clients_doing)
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
    """Give what is logged inside the block, here and in the processes that are called, this request's id.

    Args:
        facts: what `note` adds to.
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
    """Of the request that is being served, empty outside of one."""
    return str(baggage.get_baggage(_REQUEST) or "")


def _json() -> logging.Formatter:
    return JsonFormatter(
        _JSON, style="{", rename_fields=_NAMES, timestamp=True, reserved_attrs=[*RESERVED_ATTRS, "ids", "taskName"]
    )


def _is_no_clients_doing(record: logging.LogRecord) -> bool:
    """A body that does not fit and a connection that was ended are refusals, of which the journal has a line each:
    with their tracebacks, strangers could fill the log, and with their own words."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, ValidationError):
        return not error.title.endswith(_BODY)
    return not isinstance(error, ClientDisconnect)


class _Ids(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        ids = {"request_id": request_id(), "job_id": _job}
        known = {name: value for name, value in ids.items() if value}
        record.__dict__.update(known)
        record.ids = "".join(f" {name}={value}" for name, value in known.items())
        return True


class _Text(logging.Formatter):
    """One line an event, whatever a client's words in it hold; a traceback keeps its lines. What others log is left to
    the handler's former formatter."""

    def __init__(self, others: logging.Formatter | None) -> None:
        super().__init__(_TEXT)
        self._others = others or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        own = record.name.startswith("producer_twin")
        return super().format(record) if own else self._others.format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))
