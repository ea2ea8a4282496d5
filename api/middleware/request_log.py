"""Logs every request with its id and counts it in the metrics. Requests that write are logged for audits as well.

The id is the client's `x-request-id`, if it has plain characters only, and is sent back with the answer.
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

from api.routes.route import REQUEST_ID_PATTERN
from api.routes.table import route_of
from core import logs, metrics
from core.asgi.responses import CLIENT_GONE
from core.text import shown

log = logging.getLogger("producer_twin.access")
# Operators keep the audit log longer than the access log.
audit = logging.getLogger("producer_twin.audit")

HEADER = "x-request-id"
_REQUEST_ID = re.compile(REQUEST_ID_PATTERN)
_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}

# The label `cause` of refusals, by HTTP status.
_CAUSES = {
    400: "bad input",
    401: "no key",
    403: "not allowed",
    404: "not there",
    405: "wrong method",
    408: "too slow",
    409: "conflict",
    413: "too large",
    415: "wrong type",
    429: "too many",
    503: "not able",
    504: "took too long",
    507: "full",
}


class RequestLog:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        facts: dict[str, Any] = {"principal": "nobody"}
        start = time.perf_counter()
        status, ended = 0, False

        async def send_with_id(message: Message) -> None:
            nonlocal status, ended
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)
            # A task's work goes on after its answer, and is not part of the request.
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                ended = True
                _record(scope, status, time.perf_counter() - start, facts)

        try:
            with logs.request(request_id, facts):
                await self.app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            status = status or 504  # api.server.request_timeout
            raise
        finally:
            if not ended:  # the client closed the connection
                _record(scope, status or CLIENT_GONE, time.perf_counter() - start, facts)


def _record(scope: Scope, status: int, seconds: float, noted: dict[str, Any]) -> None:
    route, method, path = route_of(scope), shown(scope["method"]), shown(scope["path"])
    metrics.REQUESTS.labels(route.label, method if method in _METHODS else "other", str(status)).observe(seconds)
    if status >= 400:
        metrics.REFUSALS.labels(route.label, _CAUSES.get(status, "our fault" if status >= 500 else "other")).inc()
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
    if not route.quiet:
        log.info(sentence, *words, extra=facts)
    if route.writes and route.method != "GET":
        about = "".join(f" {name}={value}" for name, value in noted.items() if name != "principal")
        audit.info(sentence + "%s", *words, about, extra=facts)
