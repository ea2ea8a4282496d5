"""`ai_token` in the body is the API key of the request."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from api.acestep.body_token import BodyToken
from tests.asgi import answer, scope


class Recorder:
    """An app that answers the `Authorization` that it was given, and the body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, body = dict(scope["headers"]), b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if message["type"] != "http.request" or not message.get("more_body"):
                break
        document = {"authorization": headers.get(b"authorization", b"").decode(), "body": body.decode()}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(document).encode()})


def asked(path: str, *parts: bytes, length: int | None = None, **headers: str) -> Any:
    body = b"".join(parts)
    messages: list[Message] = [
        {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
        for number, part in enumerate(parts)
    ]
    request = scope(path, "POST", content_length=str(len(body) if length is None else length), **headers)
    found = answer(BodyToken(Recorder(), 5), request, *messages)[2]
    assert found["body"] == body.decode()
    return found["authorization"]


def test_json_and_forms_may_have_it() -> None:
    for path in ("/acestep/release_task", "/acestep/query_result"):
        assert asked(path, b'{"ai_token": ', b'"secret"}') == "Bearer secret"
        form = "application/x-www-form-urlencoded"
        assert asked(path, b"prompt=x&ai_token=secret", content_type=form) == "Bearer secret"


@pytest.mark.parametrize(
    "body", [b'{"prompt": "x"}', b'{"ai_token": 7}', b'{"ai_token": ""}', b"[1]", b"{", b"[" * 60_000, '"é"'.encode()]
)
def test_a_body_without_it_is_passed_on(body: bytes) -> None:
    assert asked("/acestep/release_task", body) == ""


def test_the_header_goes_before_it() -> None:
    assert asked("/acestep/release_task", b'{"ai_token": "a"}', authorization="Bearer b") == "Bearer b"


def test_other_routes_do_not_read_it() -> None:
    assert asked("/generate", b'{"ai_token": "a"}') == ""


def test_a_large_body_is_not_read_before_its_client_is_known() -> None:
    assert asked("/acestep/release_task", b'{"ai_token": "a", "lyrics": "' + b"x" * 70_000 + b'"}') == ""


def _form(*fields: tuple[str, str]) -> bytes:
    parts = [f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields]
    return "".join([*parts, "--edge--\r\n"]).encode()


def test_a_form_with_files_may_have_it_before_them() -> None:
    kind = "multipart/form-data; boundary=edge"
    fields = ("prompt", "x"), ("ai_token", "secret")
    file = ("src_audio", "y" * 70_000)
    for body, expected in (
        (_form(*fields, file), "Bearer secret"),
        (_form(file, *fields), ""),
        (_form(("prompt", 'name="ai_token"')), ""),
        (b"no form", ""),
    ):
        assert asked("/acestep/release_task", body, content_type=kind) == expected
        pieces = [body[start : start + 100] for start in range(0, len(body), 100)]
        assert asked("/acestep/release_task", *pieces, content_type=kind) == expected
    assert asked("/acestep/release_task", _form(*fields), content_type="multipart/form-data") == ""
