"""Takes the API key of a request to ACE-Step's API from its body (`ai_token`), before the key is checked."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.routes.table import route_of

_FIELD = "ai_token"
# A larger body is not read before its client is known: it needs the header `Authorization`.
_MAX_BYTES = 2**16


class BodyToken:
    """ASGI middleware: passes `ai_token` on as `Authorization`, which goes before it.

    It is read in a JSON body or an urlencoded form of a declared, small length, and in the first 64 KiB of
    `multipart/form-data`, where it must come before the files.

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
        kind = headers.get("content-type", "application/json")
        length = headers.get("content-length", "")
        in_parts = kind.startswith("multipart/form-data")
        if "authorization" in headers or not (in_parts or (length.isdigit() and 0 < int(length) <= _MAX_BYTES)):
            await self.app(scope, receive, send)
            return
        messages: list[Message] = []
        size = 0
        try:
            async with asyncio.timeout(self.seconds):
                while size < _MAX_BYTES and (not messages or _more(messages[-1])):
                    messages.append(await receive())
                    size += len(messages[-1].get("body", b""))
        except TimeoutError:  # the body's limits answer it
            messages = [{**message, "more_body": True} for message in messages]
        body = b"".join(message.get("body", b"") for message in messages)
        if token := _token_of_parts(body[:_MAX_BYTES], kind) if in_parts else _token(body, kind):
            scope = dict(scope, headers=[*scope["headers"], (b"authorization", b"Bearer " + token)])

        async def again() -> Message:
            return messages.pop(0) if messages else await receive()

        await self.app(scope, again, send)


def _more(message: Message) -> bool:
    return message["type"] == "http.request" and bool(message.get("more_body"))


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


def _token_of_parts(start: bytes, content_type: str) -> bytes | None:
    """The field in the first bytes of a form."""
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        return None
    names: list[str | None] = []
    value = bytearray()
    found: list[bytes] = []
    header: list[bytearray] = [bytearray(), bytearray()]

    def begin_part() -> None:
        names.append(None)
        value.clear()

    def end_header() -> None:
        if header[0].lower() == b"content-disposition":
            names[-1] = parse_options_header(bytes(header[1]))[1].get(b"name", b"").decode("utf-8", "replace")
        header[0].clear()
        header[1].clear()

    def end_part() -> None:
        if names[-1] == _FIELD:
            found.append(bytes(value))

    def data(part: bytearray) -> Any:
        return lambda piece, begin, end: part.extend(piece[begin:end])

    callbacks: Any = {
        "on_part_begin": begin_part,
        "on_header_field": data(header[0]),
        "on_header_value": data(header[1]),
        "on_header_end": end_header,
        "on_part_data": data(value),
        "on_part_end": end_part,
    }
    try:
        MultipartParser(boundary, callbacks).write(start)
    except MultipartParseError:  # the handler says what is wrong with the body
        return None
    return found[0] if found and found[0].isascii() else None
