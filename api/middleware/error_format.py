"""Gives every error of every layer its route's format, which is `{"error": "one sentence"}` for almost all."""

from __future__ import annotations

import json
import logging
import secrets
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.routes.table import route_of
from contract.validation import describe_validation
from core.asgi.responses import error_response, method_not_allowed, no_such_path

log = logging.getLogger("producer_twin.edge")


class ErrorFormat:
    """ASGI middleware: rewrites every response of status 400 and above, and answers exceptions with 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start: Message | None = None
        body = b""
        answered = ended = False

        async def rewrite(message: Message) -> None:
            nonlocal start, body, answered, ended
            if message["type"] == "http.response.start" and message["status"] >= 400:
                start = message
                return
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            if start is None:
                answered = True
                await send(message)
                return
            body += message.get("body", b"")

        try:
            await self.app(scope, receive, rewrite)
        except Exception:
            if answered and not ended:
                raise
            incident = secrets.token_hex(4)
            log.exception("%s %s failed (incident %s)", scope["method"], scope["path"], incident)
            if not answered:
                sentence = f"the service failed at this request (incident {incident})"
                await error_response(500, sentence, field=route_of(scope).error_field)(scope, receive, send)
            return
        # Not before the app has returned: Starlette sends a bare 500, and raises the exception afterwards.
        if start is not None and ended:
            await _answer(start, body, scope)(scope, receive, send)


def _answer(start: Message, body: bytes, scope: Scope) -> Response:
    status = start["status"]
    # Length and type are the new body's; other headers (Allow, Retry-After, CORS) are kept.
    headers = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in start["headers"]
        if name.lower() not in (b"content-length", b"content-type")
    }
    if status == 422 and not _is_own(body):  # BentoML's status of an invalid body
        status = 400
    return error_response(status, _sentence(status, body, scope), headers, field=route_of(scope).error_field)


def _is_own(body: bytes) -> bool:
    """Whether the body has the format of this service's errors."""
    try:
        document = json.loads(body)
    except ValueError:
        return False
    return isinstance(document, dict) and isinstance(document.get("error"), str)


def _sentence(status: int, body: bytes, scope: Scope) -> str:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if isinstance(document, list) and document:  # BentoML's form for its own exceptions
        document = document[0]
    if isinstance(document, dict):
        if isinstance(document.get("detail"), list):
            return describe_validation(document["detail"])
        if isinstance(document.get("error"), str):
            return str(document["error"])
    if status == 404:
        return no_such_path(scope)
    if status == 405:
        return method_not_allowed(scope)
    text = body.decode(errors="replace").strip()
    return text.splitlines()[0][:500] if text else HTTPStatus(status).phrase
