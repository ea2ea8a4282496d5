"""Idempotency-Key: a request that is sent again is answered as before, another is refused, and errors free the key."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from api.middleware import idempotency
from api.middleware.idempotency import Idempotency
from core.principal import Principal, acting
from generation.outbox import Outbox
from storage import Storage, Unavailable, keys, leases, work_keys
from storage.process_lease import ProcessLease

KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"
TRACK = keys.output(None, "x", "wav")


class Service:
    """The middleware before an application that counts what it makes."""

    def __init__(self, storage: Storage, folder: Path) -> None:
        self.storage = storage
        self.now = datetime.now(UTC)
        self.made = 0
        self.go = asyncio.Event()
        self.go.set()
        self.answer: Any = None
        self.lease = ProcessLease(storage)
        front = SimpleNamespace(storage=storage, outbox=Outbox(storage, "x", folder / "outbox"), lease=self.lease)
        self.app = Idempotency(self._make, lambda: front, lambda: self.now)  # type: ignore[arg-type, return-value]

    async def _make(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        await self.go.wait()
        self.made += 1
        answer = self.answer or JSONResponse({"made": self.made, "bytes": len(body)}, headers={"x-seed": "7"})
        await answer(scope, receive, send)

    async def post(
        self,
        key: str | None = KEY,
        body: Any = None,
        path: str = "/generate",
        caller: str = "key a",
        **more: Any,
    ) -> httpx.Response:
        headers = {} if key is None else {"idempotency-key": key}
        sent = {"prompt": "x"} if body is None else body
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            with acting(Principal(caller)):
                return await client.post(path, headers=headers, json=sent, **more)


@pytest.fixture
def service(store: Storage, tmp_path: Path) -> Service:
    return Service(store, tmp_path)


def test_the_same_request_is_answered_as_before(service: Service) -> None:
    async def run() -> None:
        first = await service.post()
        for key in (KEY, f'"{KEY}"'):
            again = await service.post(key)
            assert (again.status_code, again.json(), again.headers["x-seed"]) == (200, first.json(), "7")
            assert again.headers["idempotency-replayed"] == "true"
        assert service.made == 1 and "idempotency-replayed" not in first.headers

    asyncio.run(run())


def test_what_counts_as_another_request(service: Service) -> None:
    async def run() -> None:
        await service.post()
        for other in ({"body": {"prompt": "y"}}, {"path": "/train"}, {"params": {"a": "b"}}):
            answer = await service.post(**other)
            assert answer.status_code == 422 and "another request" in answer.json()["error"], other
        assert service.made == 1
        assert (await service.post(key="another")).json()["made"] == 2
        assert (await service.post(caller="key b")).json()["made"] == 3
        assert (await service.post(key=None)).json()["made"] == 4
        assert (await service.post(path="/jobs/x/cancel")).json()["made"] == 5  # it makes nothing, and takes no key

    asyncio.run(run())


def test_a_request_that_is_not_answered_yet_is_a_conflict(service: Service) -> None:
    async def run() -> None:
        service.go.clear()
        first = asyncio.create_task(service.post())
        while not list(service.storage.list(work_keys.idempotent_answers())):
            await asyncio.sleep(0.01)
        under_way = await service.post()
        assert under_way.status_code == 409 and int(under_way.headers["retry-after"]) > 0
        service.go.set()
        assert (await first).json() == (await service.post()).json()
        assert service.made == 1

    asyncio.run(run())


def test_an_error_frees_the_key(service: Service) -> None:
    async def run() -> None:
        for status in (400, 503):
            service.answer = JSONResponse({"error": "x"}, status)
            assert (await service.post()).status_code == status
        service.answer = None
        assert (await service.post()).status_code == 200 and service.made == 3

    asyncio.run(run())


@pytest.mark.parametrize("status", [503, 507])
def test_an_answer_is_kept_as_soon_as_storage_is_available_again(
    service: Service, store: Storage, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Else its key would stay that of a request that is not answered yet, for a day."""
    monkeypatch.setattr(idempotency, "STORE_AGAIN_SECONDS", 0.05)
    put = store.put
    away = True

    def put_unless_away(key: str, data: bytes, **conditions: Any) -> str:
        if away and "if_match" in conditions:
            raise Unavailable(status, "the storage is away")
        return put(key, data, **conditions)

    monkeypatch.setattr(store, "put", put_unless_away)

    async def run() -> None:
        nonlocal away
        first = await service.post()
        assert first.status_code == 200 and (await service.post()).status_code == 409
        away = False
        async with asyncio.timeout(10):
            while (again := await service.post()).status_code == 409:
                await asyncio.sleep(0.02)
        assert again.json() == first.json() and service.made == 1

    asyncio.run(run())


def test_an_exception_frees_the_key(service: Service) -> None:
    async def run() -> None:
        service.answer = "no application"
        with pytest.raises(TypeError):
            await service.post()
        service.answer = None
        assert (await service.post()).status_code == 200

    asyncio.run(run())


def test_a_key_is_kept_for_a_day(service: Service) -> None:
    async def run() -> None:
        await service.post()
        service.now += timedelta(hours=23)
        assert (await service.post()).json()["made"] == 1
        service.now += timedelta(hours=1, seconds=1)
        assert (await service.post(body={"prompt": "y"})).json()["made"] == 2

    asyncio.run(run())


def test_a_process_that_was_killed_does_not_hold_the_key(
    store: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "EXPIRY", 0.3)

    async def run() -> None:
        killed = Service(store, tmp_path)
        killed.go.clear()
        task = asyncio.create_task(killed.post())
        while not list(store.list(work_keys.idempotent_answers())):
            await asyncio.sleep(0.01)
        [kept] = store.list(work_keys.idempotent_answers())
        running = store.get(kept.key)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        store.put(kept.key, running)  # as the killed process would have left it
        service = Service(store, tmp_path)
        assert (await service.post()).status_code == 409
        killed.lease.close()
        assert (await service.post()).json()["made"] == 1

    asyncio.run(run())


def test_forms_are_the_same_whatever_their_boundary(service: Service) -> None:
    async def form(sound: bytes, boundary: str) -> httpx.Response:
        part = f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'.encode()
        content = part + sound + f"\r\n--{boundary}--\r\n".encode()

        async def chunks() -> Any:
            for start in range(0, len(content), 7):
                yield content[start : start + 7]

        service_headers = {"content-type": f"multipart/form-data; boundary={boundary}", "idempotency-key": KEY}
        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            with acting(Principal("key a")):
                return await client.post("/uploads", headers=service_headers, content=chunks())

    async def run() -> None:
        sound = bytes(range(256)) * 10
        first = await form(sound, "a1b2c3d4e5f6a7b8")
        assert (await form(sound, "ffffeeeeddddcccc")).json() == first.json()
        assert (await form(sound[:-1] + b"x", "ffffeeeeddddcccc")).status_code == 422
        assert service.made == 1

    asyncio.run(run())


def test_a_track_is_answered_from_storage(service: Service, store: Storage) -> None:
    async def run() -> None:
        audio = b"RIFF" + bytes(3_000_000)
        store.put(TRACK, audio)
        path = keys.to_path(TRACK)
        service.answer = Response(audio, media_type="audio/wav", headers={"x-output-path": path, "x-seed": "7"})
        await service.post()
        again = await service.post()
        assert (
            again.content == audio and again.headers["content-type"] == "audio/wav" and again.headers["x-seed"] == "7"
        )
        figures = {"bpm": 140.0, "loudness": -14.0, "key": None, "clipped": 0, "twin_distance": 0.25}
        encoded = base64.b64encode(audio).decode()
        document = {"figures": figures, "output_path": path, "seed": 7, "audio_base64": encoded}
        service.answer = JSONResponse(document)
        await service.post(key="as-json")
        assert (await service.post(key="as-json")).json() == document
        stored = [store.get(entry.key) for entry in store.list(work_keys.idempotent_answers())]
        assert len(stored) == 2 and max(map(len, stored)) < 1000 and all(json.loads(each)["track"] for each in stored)
        store.delete(TRACK)
        gone = await service.post()
        assert gone.status_code == 409 and "was deleted" in gone.json()["error"]

    asyncio.run(run())


@pytest.mark.parametrize("is_local", [True, False])
def test_a_track_that_is_answered_again_is_not_read_into_memory(
    service: Service, store: Storage, monkeypatch: pytest.MonkeyPatch, is_local: bool
) -> None:
    """A client may ask for a track of ten minutes many times at once."""
    audio = bytes(20_000_000)
    store.put(TRACK, audio)
    if not is_local:
        monkeypatch.setattr(store, "local", lambda key: None)

    async def run() -> None:
        service.answer = Response(audio, media_type="audio/wav", headers={"x-output-path": keys.to_path(TRACK)})
        await service.post()
        sizes: list[int] = []
        given = service.app

        async def measured(scope: Scope, receive: Receive, send: Send) -> None:
            async def note(message: Message) -> None:
                sizes.append(len(message.get("body", b"")))
                await send(message)

            await given(scope, receive, note)

        service.app = measured  # type: ignore[assignment]
        again = await service.post()
        assert again.content == audio and again.headers["content-type"] == "audio/wav" and service.made == 1
        assert max(sizes) < 1_000_000

    asyncio.run(run())


@pytest.mark.parametrize("key", ["", '""', "two words", 'a"b', "x" * 256, "back\\slash"])
def test_malformed_keys_are_refused(service: Service, key: str) -> None:
    answer = asyncio.run(service.post(key))
    assert answer.status_code == 400 and answer.json()["error"].startswith("idempotency-key: ")
    assert service.made == 0
