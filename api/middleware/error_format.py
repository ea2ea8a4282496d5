"""Every error, from whatever layer, becomes `{"error": "one sentence"}`."""

from __future__ import annotations

import json
import logging
import re
import secrets
from http import HTTPStatus
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contract import ID_PATTERN, ID_RULE, VERSION_PATTERN
from core.asgi.responses import error_response
from core.text import shown

log = logging.getLogger("producer_twin.edge")

# Of so many errors in one body the message tells.
_MOST = 10
_MENDS = {
    "missing": "it is missing; send it",
    "extra_forbidden": "it is not a known field; leave it out",
    "json_invalid": "the body is not valid JSON",
    "model_type": "the body must be a JSON object",
}


def describe_validation(details: list[dict[str, Any]]) -> str:
    """Pydantic's list of errors as one sentence, each part naming its field."""
    sentences = list(dict.fromkeys(_describe(detail) for detail in details))
    more = [f"and {len(sentences) - _MOST} more"] if len(sentences) > _MOST else []
    return "; ".join(sentences[:_MOST] + more)


def _describe(detail: dict[str, Any]) -> str:
    kind = str(detail.get("type", ""))
    parts = [str(part) for part in detail.get("loc", ())]
    # An unknown field is named as it was sent, a known one as the contract spells it.
    field = shown(".".join(parts if kind == "extra_forbidden" else map(_snake, parts)))
    message = str(detail.get("msg", "it is not valid"))
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        pattern = message.rsplit("'", 2)[-2]
        message = _pattern_mend(pattern)
    message = _MENDS.get(kind, message[:1].lower() + message[1:])
    return f"{field}: {message}" if field else message


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def _pattern_mend(pattern: str) -> str:
    if pattern == ID_PATTERN:
        return f"it must be {ID_RULE}"
    if pattern == VERSION_PATTERN:
        return "it must be a version as /loras/{id}/versions lists them, 16 of 0-9 a-f"
    return f"it must be producer_id:model_name, each {ID_RULE}; @version may follow"


class ErrorFormat:
    """ASGI middleware: rewrites every answer from 400 up that has not the one shape."""

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
                await error_response(500, sentence)(scope, receive, send)
            return
        # Only now, since Starlette answers a bare 500 before it raises what it is for.
        if start is not None and ended:
            await _answer(start, body, scope)(scope, receive, send)


def _answer(start: Message, body: bytes, scope: Scope) -> Response:
    status = start["status"]
    # Length and type are the new body's; the rest (Allow, Retry-After, CORS) goes with the answer.
    headers = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in start["headers"]
        if name.lower() not in (b"content-length", b"content-type")
    }
    status = 400 if status == 422 else status
    return error_response(status, _sentence(status, body, scope), headers)


def _sentence(status: int, body: bytes, scope: Scope) -> str:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if isinstance(document, list) and document:
        document = document[0]
    if isinstance(document, dict):
        if isinstance(document.get("detail"), list):
            return describe_validation(document["detail"])
        if isinstance(document.get("error"), str):
            return str(document["error"])
    method, path = shown(scope["method"]), shown(scope["path"])
    if status == 404:
        return f"there is nothing at {path}"
    if status == 405:
        return f"{method} is not allowed on {path}"
    text = body.decode(errors="replace").strip()
    return text.splitlines()[0][:500] if text else HTTPStatus(status).phrase
