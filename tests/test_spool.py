"""Bodies of uploads wait on disk, and are read in turn."""

from __future__ import annotations

import asyncio
import tempfile
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from edge.spool import Spool
from tests.asgi import part, scope

LARGE = 9 * 2**20


class Reader:
    """An app that reads a body, and holds it for a while."""

    def __init__(self) -> None:
        self.pieces: list[list[int]] = []
        self.now = self.most = 0
        self.go = asyncio.Event()

    async def __call__(self, asked: Scope, receive: Receive, send: Send) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        pieces = [len((message := await receive()).get("body", b""))]
        while message.get("more_body"):
            pieces.append(len((message := await receive()).get("body", b"")))
        self.pieces.append(pieces)
        await self.go.wait()
        self.now -= 1


def sending(app: Any, *body: Message, ends: bool = True) -> asyncio.Task[None]:
    pending = list(body)

    async def receive() -> Message:
        if not pending and not ends:
            await asyncio.sleep(60)
        return pending.pop(0) if pending else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    return asyncio.create_task(app(scope("/store-upload", "POST"), receive, send))


async def settle(true: Any) -> None:
    for _ in range(200):
        if true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("not within 4 s")


def test_large_bodies_are_read_one_at_a_time_and_hold_up_nobody_else() -> None:
    async def run() -> None:
        reader = Reader()
        app = Spool(reader)
        slow = sending(app, part(LARGE, more=True), ends=False)  # it has no place: its body is not whole
        large = [sending(app, part(LARGE // 2, more=True), part(LARGE // 2)) for _ in range(4)]
        await settle(lambda: reader.pieces)
        await asyncio.sleep(0.2)
        assert reader.pieces == [[LARGE // 2 * 2]]
        small = [sending(app, part(1000)) for _ in range(5)]
        await settle(lambda: len(reader.pieces) == 6)
        large[3].cancel()  # its client has gone while it waited
        reader.go.set()
        await asyncio.gather(*large[:3], *small)
        assert len(reader.pieces) == 8 and reader.most == 6
        slow.cancel()

    asyncio.run(run())


def test_a_body_that_ends_early_is_passed_on_as_that() -> None:
    async def run() -> None:
        reader = Reader()
        reader.go.set()
        await sending(Spool(reader), part(LARGE, more=True))
        assert reader.pieces == [[0]]

    asyncio.run(run())


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "write", full)
    sent: list[Message] = []

    async def run() -> None:
        async def receive() -> Message:
            return part(LARGE)

        async def send(message: Message) -> None:
            sent.append(message)

        await Spool(Reader())(scope("/store-upload", "POST"), receive, send)

    asyncio.run(run())
    assert sent[0]["status"] == 507
