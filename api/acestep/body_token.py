"""Takes the API key of a request to ACE-Step's API from its body (`ai_token`), before the key is checked."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.routes.table import route_of

_FIELD = "ai_token"
# A larger body is not read before its client is known: it needs the header `Authorization`.
_MAX_BYTES = 2**16


class BodyToken:
    """ASGI middleware: passes `ai_token` on as `Authorization`, which goes before it.

    Only a body of a declared, small length is read, as JSON or as an urlencoded form.

    Args:
        seconds: for how long the body may take.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self.app = app
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not route_of(scope).token_in_body:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        if "authorization" in headers or not length.isdigit() or not 0 < int(length) <= _MAX_BYTES:
            await self.app(scope, receive, send)
            return
        messages: list[Message] = []
        try:
            async with asyncio.timeout(self.seconds):
                while not messages or (messages[-1]["type"] == "http.request" and messages[-1].get("more_body")):
                    messages.append(await receive())
        except TimeoutError:  # the body's limits answer it
            messages = [{**message, "more_body": True} for message in messages]
        body = b"".join(message.get("body", b"") for message in messages)
        if token := _token(body, headers.get("content-type", "application/json")):
            scope = dict(scope, headers=[*scope["headers"], (b"authorization", b"Bearer " + token)])

        async def again() -> Message:
            return messages.pop(0) if messages else await receive()

        await self.app(scope, again, send)


def _token(body: bytes, content_type: str) -> bytes | None:
    try:
        if content_type.startswith("application/x-www-form-urlencoded"):
            found = parse_qs(body.decode()).get(_FIELD, [None])[0]
        else:
            document = json.loads(body)
            found = document.get(_FIELD) if isinstance(document, dict) else None
        return found.encode("ascii") if isinstance(found, str) and found else None
    except (ValueError, RecursionError):  # the handler says what is wrong with the body
        return None
