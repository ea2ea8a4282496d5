"""Gives every error of every layer the one format `{"error": "one sentence"}`."""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contract import ID_RULE
from core.asgi.responses import error_response, method_not_allowed, no_such_path
from core.errors import Refusal
from core.text import shown

log = logging.getLogger("producer_twin.edge")

MAX_REPORTED_ERRORS = 10
_SENTENCES = {
    "missing": "it is missing; send it",
    "extra_forbidden": "it is not a known field; leave it out",
    "json_invalid": "the body is not valid JSON",
    "model_type": "the body must be a JSON object",
}
# What a text must be, by the last name of its field; every other field with a pattern is an id.
_RULES = {
    "lora_id": f"producer_id:model_name, each {ID_RULE}; @version may follow",
    "version": "a version as /loras/{id}/versions lists them, 16 of 0-9 a-f",
}


def invalid(error: ValidationError) -> Refusal:
    """The refusal (400) of a body that pydantic found invalid."""
    return Refusal(400, describe_validation(error.errors(include_input=False)))


def describe_validation(details: Sequence[Mapping[str, Any]]) -> str:
    """Pydantic's list of errors as one sentence, each part naming its field."""
    sentences = list(dict.fromkeys(_describe(detail) for detail in details))
    more = len(sentences) - MAX_REPORTED_ERRORS
    return "; ".join(sentences[:MAX_REPORTED_ERRORS] + ([f"and {more} more"] if more > 0 else []))


def _describe(detail: Mapping[str, Any]) -> str:
    kind = detail["type"]
    if kind == "value_error":  # of our own validators, whose messages name the field
        error = detail.get("ctx", {}).get("error")
        # BentoML's list of errors has no context.
        return str(error) if error else str(detail["msg"]).removeprefix("Value error, ")
    parts = [str(part) for part in detail["loc"]]
    names = [_snake(part) for part in parts]
    # An unknown field is named as it was sent, a known one as the contract spells it.
    field = shown(".".join(parts if kind == "extra_forbidden" else names))
    if kind == "string_pattern_mismatch":
        sentence = f"it must be {_RULES.get(names[-1], ID_RULE)}"
    else:
        message = str(detail["msg"])
        sentence = _SENTENCES.get(kind, message[:1].lower() + message[1:])
    return f"{field}: {sentence}" if field else sentence


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


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
                await error_response(500, sentence)(scope, receive, send)
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
    status = 400 if status == 422 else status
    return error_response(status, _sentence(status, body, scope), headers)


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
