"""Server-sent events: a document, now and whenever it changes, until it is final."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from typing import TypeVar

from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse

from core.asgi.responses import LIVE_HEADERS
from core.errors import Refusal
from storage import Unavailable

T = TypeVar("T", bound=BaseModel)

POLL_SECONDS = 0.5
# Proxies close a stream that is silent for long, so a comment is sent when there is no event.
_KEEP_ALIVE_SECONDS = 15.0


def stream_of(
    first: T,
    read: Callable[[], Awaitable[T]],
    is_final: Callable[[T], bool],
    headers: Headers,
    ignored: frozenset[str] = frozenset(),
) -> Response:
    """The stream of a document's versions.

    Args:
        first: the document as it is.
        read: reads it again. Raises Refusal if it is gone, which ends the stream.
        is_final: whether it will not change any more.
        headers: of the request.
        ignored: fields whose change is not told.
    """
    if is_final(first) and headers.get("last-event-id") == _event_id(first, ignored):
        # A browser reconnects when a stream ends, unless it is answered 204.
        return Response(status_code=204)
    events = _events(first, read, is_final, ignored)
    return StreamingResponse(events, media_type="text/event-stream", headers=LIVE_HEADERS)


async def _events(
    document: T, read: Callable[[], Awaitable[T]], is_final: Callable[[T], bool], ignored: frozenset[str]
) -> AsyncIterator[str]:
    yield "retry: 2000\n\n" + _event(document, ignored)
    sent, sent_at = _event_id(document, ignored), time.monotonic()
    while not is_final(document):
        await asyncio.sleep(POLL_SECONDS)
        try:
            document = await read()
        except Unavailable:
            continue
        except Refusal:  # it was deleted
            return
        if _event_id(document, ignored) != sent:
            yield _event(document, ignored)
            sent, sent_at = _event_id(document, ignored), time.monotonic()
        elif time.monotonic() - sent_at > _KEEP_ALIVE_SECONDS:
            yield ": still here\n\n"
            sent_at = time.monotonic()


def _event(document: BaseModel, ignored: frozenset[str]) -> str:
    return f"id: {_event_id(document, ignored)}\ndata: {document.model_dump_json()}\n\n"


def _event_id(document: BaseModel, ignored: frozenset[str]) -> str:
    """A digest of the document without the fields that are ignored."""
    fields = document.model_dump(mode="json", exclude=set(ignored))
    return sha256(json.dumps(fields).encode()).hexdigest()[:16]
