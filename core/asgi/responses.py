"""Error responses: `{"error": "one sentence"}`."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import bentoml
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from core.errors import Refusal
from core.text import shown

# Seconds in `Retry-After` if the caller gives none.
DEFAULT_RETRY_AFTER = 5
# Of an answer that is made while it is sent: proxies keep none of it, and nginx passes on each part at once.
LIVE_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
# nginx's status for a client that closed the connection; it is logged, and no client receives it.
CLIENT_GONE = 499


def error_response(
    status: int, message: str, headers: dict[str, str] | None = None, wait: int | None = None, field: str = "error"
) -> JSONResponse:
    """An error response; with `wait`, and always with 429 and 503, it says after how many seconds to try again."""
    waits = {"retry-after": str(wait or DEFAULT_RETRY_AFTER)} if wait or status in (429, 503) else {}
    return JSONResponse({field: message}, status_code=status, headers=waits | (headers or {}))


def no_such_path(scope: Scope) -> str:
    """The message of a 404 where no route has the path."""
    return f"there is nothing at {shown(scope['path'])}"


def method_not_allowed(scope: Scope) -> str:
    """The message of a 405."""
    return f"{shown(scope['method'])} is not allowed on {shown(scope['path'])}"


async def answer_or_error(answer: Awaitable[Any], context: bentoml.Context | None = None) -> Any:
    """The answer, or the error response for the `Refusal` that it raised.

    Args:
        context: the handler's, if it has one: BentoML then takes the status from there.
    """
    try:
        answered = await answer
        if context and isinstance(answered, Response):
            context.response.status_code = answered.status_code
        return answered
    except Refusal as refusal:
        if context:
            context.response.status_code = refusal.status
        return error_response(refusal.status, refusal.message, wait=refusal.wait)
