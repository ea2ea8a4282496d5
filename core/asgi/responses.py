"""Error responses in the service's one format: `{"error": "one sentence"}`."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import bentoml
from starlette.responses import JSONResponse

from core.errors import Refusal

# Seconds in `Retry-After` where the caller gives none.
DEFAULT_RETRY_AFTER = 5
# Nginx's status for a client that closed the connection; it is logged and never received.
CLIENT_GONE = 499


def error_response(
    status: int, message: str, headers: dict[str, str] | None = None, wait: int | None = None
) -> JSONResponse:
    """`Retry-After` goes with what passes by itself, in `wait` seconds."""
    waits = {"retry-after": str(wait or DEFAULT_RETRY_AFTER)} if status in (429, 503) else {}
    return JSONResponse({"error": message}, status_code=status, headers=waits | (headers or {}))


async def or_error(answer: Awaitable[Any], context: bentoml.Context | None = None) -> Any:
    """The answer, or the error response of the `Refusal` that it raised; BentoML sends either.

    Args:
        context: the handler's, where it takes one: BentoML then answers with the context's status.
    """
    try:
        return await answer
    except Refusal as refusal:
        if context:
            context.response.status_code = refusal.status
        return error_response(refusal.status, refusal.message, wait=refusal.wait)
