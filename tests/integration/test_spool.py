"""Large bodies of uploads are spooled to disk and parsed in a process of their own."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import tempfile
from pathlib import Path

import pytest
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from api.middleware.upload_spool import UploadSpool
from api.routes.upload_bodies import parse_upload_body
from core.errors import Refusal
from tests.api import Api, as_base64, beat, error_of
from tests.asgi import part, scope

LARGE = 9 * 2**20


class Reader:
    """An app that reads small bodies, and the handler that stores large ones; both keep the sizes."""

    def __init__(self) -> None:
        self.pieces: list[int] = []
        self.stored: list[int] = []

    async def __call__(self, asked: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        assert not message.get("more_body")
        self.pieces.append(len(message.get("body", b"")))

    async def store(self, body: io.FileIO) -> Response:
        body.seek(0)
        self.stored.append(len(body.readall()))
        return Response("stored")


async def send_body(reader: Reader, *body: Message) -> list[Message]:
    """Send a body in these messages. Returns the messages of the answer."""
    pending, sent = list(body), []

    async def receive() -> Message:
        return pending.pop(0) if pending else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await UploadSpool(reader, reader.store)(scope("/store-upload", "POST"), receive, send)
    return sent


def test_large_bodies_are_stored_from_disk_and_small_ones_read() -> None:
    reader = Reader()
    sent = asyncio.run(send_body(reader, part(LARGE // 2, more=True), part(LARGE // 2)))
    assert sent[0]["status"] == 200 and sent[1]["body"] == b"stored"
    asyncio.run(send_body(reader, part(600, more=True), part(400)))
    assert (reader.stored, reader.pieces) == ([LARGE // 2 * 2], [1000])


def test_a_body_that_ends_early_is_passed_on_as_that() -> None:
    reader = Reader()
    asyncio.run(send_body(reader, part(LARGE, more=True)))
    assert (reader.stored, reader.pieces) == ([], [0])


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "write", full)
    sent = asyncio.run(send_body(Reader(), part(LARGE)))
    assert sent[0]["status"] == 507


SOUND = base64.b64encode(b"x" * 10).decode()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 10_000, 400),
        (json.dumps({"content_base64": "%%%"}).encode(), 400),
        (json.dumps({"content_base64": "A" * 4000}).encode(), 413),
        (json.dumps({"content_base64": SOUND, "filename": "x" * 70_000}).encode(), 413),
    ],
)
def test_a_body_that_is_none_is_refused(body: bytes, status: int, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(body)
    with (
        open(tmp_path / "body", "rb", buffering=0) as given,
        open(tmp_path / "sound", "wb", buffering=0) as sound,
        pytest.raises(Refusal) as refusal,
    ):
        parse_upload_body(given, sound, 1000)
    assert refusal.value.status == status


@pytest.mark.parametrize("name", ["content_base64", "contentBase64"])
def test_a_body_is_taken_apart(name: str, tmp_path: Path) -> None:
    (tmp_path / "body").write_text(json.dumps({name: f"data:audio/wav;base64,{SOUND}", "producer_id": "ada"}))
    with open(tmp_path / "body", "rb", buffering=0) as given, open(tmp_path / "sound", "wb", buffering=0) as sound:
        assert parse_upload_body(given, sound, 1000) == {name: "_", "producer_id": "ada"}
    assert (tmp_path / "sound").read_bytes() == b"x" * 10


def test_large_uploads_are_answered_as_small_ones_are(api: Api) -> None:
    song = beat(10)
    body = {"producer_id": "uploader", "job_id": "large", "filename": "song.wav", "content_base64": as_base64(song)}
    answer = api.post("/store-upload", **body)
    assert answer == {
        "path": "/data/uploads/uploader/large/song.wav",
        "producer_id": "uploader",
        "job_id": "large",
        "warnings": [],
    }
    assert api.file(answer["path"]).read_bytes() == song
    assert "producer_id" in error_of(api.client.post("/store-upload", json=body | {"producer_id": "a/b"}), 400)
    assert "nonsense" in error_of(api.client.post("/store-upload", json=body | {"nonsense": 1}), 400)
    assert "content_base64" in error_of(
        api.client.post("/store-upload", json=body | {"content_base64": as_base64(bytes(2**20))}), 400
    )
