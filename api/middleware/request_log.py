"""What is written down of every request: a line in the log with its id, one more if it changed something, metrics.

The id is the client's own (`x-request-id`) if it is a plain one, and goes back with the answer.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.middleware.body_limits import writes
from core import logs, metrics
from core.asgi.responses import CLIENT_GONE
from core.text import shown

log = logging.getLogger("producer_twin.access")
# Who changed what; operators keep it longer than the rest.
audit = logging.getLogger("producer_twin.audit")

HEADER = "x-request-id"
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}
# Watchers ask for these every few seconds.
_QUIET = {"/livez", "/readyz", "/healthz", "/metrics"}
_ROUTES = re.compile(
    r"/(generate|queue|store-upload|uploads(?:/link)?|train(?:/submit|/status|/get)?|backends|status|metrics|livez|readyz"
    r"|jobs|loras(?:/import)?|datasets|producers|data/outputs|docs\.json)(?=/|$)"
)


class RequestLog:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _PLAIN.fullmatch(given) else uuid.uuid4().hex
        facts: dict[str, Any] = {"principal": "nobody"}
        start = time.perf_counter()
        status, ended = 0, False

        async def name(message: Message) -> None:
            nonlocal status, ended
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)
            # A task goes on after its answer.
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                ended = True
                _write_down(scope, status, time.perf_counter() - start, facts)

        try:
            with logs.request(request_id, facts):
                await self.app(scope, receive, name)
        except asyncio.CancelledError:
            status = status or 504  # api.server.request_timeout
            raise
        finally:
            if not ended:  # the client closed the connection
                _write_down(scope, status or CLIENT_GONE, time.perf_counter() - start, facts)


def _write_down(scope: Scope, status: int, seconds: float, noted: dict[str, Any]) -> None:
    route, method, path = route_of(scope["path"]), shown(scope["method"]), shown(scope["path"])
    metrics.REQUESTS.labels(route, method if method in _METHODS else "other", str(status)).observe(seconds)
    if status >= 400:
        metrics.REFUSALS.labels(route, metrics.CAUSES.get(status, "our fault" if status >= 500 else "other")).inc()
    client = (scope.get("client") or ("unknown",))[0]
    facts = {
        "method": method,
        "path": path,
        "status": status,
        "milliseconds": round(seconds * 1000, 1),
        "client": client,
        **noted,
    }
    sentence = "%s %s → %d in %.0f ms, for %s at %s"
    words = (method, path, status, seconds * 1000, noted["principal"], client)
    if scope["path"] not in _QUIET:
        log.info(sentence, *words, extra=facts)
    if changes(scope):
        about = "".join(f" {name}={value}" for name, value in noted.items() if name != "principal")
        audit.info(sentence + "%s", *words, about, extra=facts)


def changes(scope: Scope) -> bool:
    return writes(scope) and scope["method"] not in ("GET", "HEAD", "OPTIONS")


def route_of(path: str) -> str:
    """The route without a client's words, so that their number is bounded."""
    found = _ROUTES.match(path)
    return found[0] if found else "other"
