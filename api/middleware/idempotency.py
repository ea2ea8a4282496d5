"""`Idempotency-Key`: a request that is sent again is answered as before, and makes nothing again.

As draft-ietf-httpapi-idempotency-key-header says. The first request's body is digested as it passes through, and its
answer is stored for a day. Only what made something is kept: after an error the key is free again.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import AwareDatetime, BaseModel
from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.routes.idempotency_key import HEADER, key_digest
from api.routes.table import route_of
from core.asgi.responses import error_response
from core.disk import temporary_space
from core.errors import Refusal
from core.temporary import TemporaryFolder
from generation.outbox import Outbox
from storage import AlreadyExists, Changed, NotFound, Storage, Unavailable, keys, records, work_keys
from storage.process_lease import LivingProcesses, ProcessLease

log = logging.getLogger("producer_twin.front")

KEPT = timedelta(days=1)
# While storage is unavailable, the end of a request is stored after this time.
STORE_AGAIN_SECONDS = 30.0
# Headers of the answer that are sent again.
_KEPT_HEADERS = ("content-type", "location")
_KEPT_PREFIX = "x-"
# Without the audio, which is read from the track that was stored.
_MAX_DOCUMENT_BYTES = 2**20
_TRACK_HEADER = "x-output-path"
_AUDIO_FIELD = b'"audio_base64":'
_BOUNDARY = re.compile(r'boundary="?([^";,]+)"?')


class KeptAnswer(BaseModel):
    """The stored answer of a request.

    Attributes:
        process: makes the answer, as long as the state is `running`.
        fingerprint: the digest of the request.
        document: the body, as text; without the audio, which is that of the track at `track`.
        track: the storage key of the track whose file is the body, or is the body's field `audio_base64`.
    """

    state: Literal["running", "done"]
    process: str
    created_at: AwareDatetime
    fingerprint: str = ""
    status: int = 0
    headers: dict[str, str] = {}
    document: str = ""
    track: str | None = None


class Front(Protocol):
    """The front service, as this middleware uses it."""

    outbox: Outbox
    lease: ProcessLease

    @property
    def storage(self) -> Storage: ...


class Idempotency:
    """ASGI middleware, for the routes that make something.

    Args:
        front: returns the front service, once it has started.
        clock: the current time.
    """

    def __init__(
        self, app: ASGIApp, front: Callable[[], Front], clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.app = app
        self.front = front
        self.clock = clock
        self._living: LivingProcesses | None = None
        self._late: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).getlist(HEADER) if scope["type"] == "http" else []
        if not given or not route_of(scope).makes:
            await self.app(scope, receive, send)
            return
        try:
            key = _storage_key(given)
            etag = await asyncio.to_thread(self._begin, key)
            if isinstance(etag, KeptAnswer):
                with TemporaryFolder("replayed") as folder:
                    answer = await self._again(etag, scope, receive, folder)
                    await answer(scope, receive, send)
                return
        except Refusal as refusal:
            await error_response(refusal.status, refusal.message, wait=refusal.wait)(scope, receive, send)
            return
        await self._first(key, etag, scope, receive, send)

    def _begin(self, key: str) -> str | KeptAnswer:
        """Take the key: the etag of its record, or the answer that is kept under it.

        Raises:
            Refusal: 409, the first request with it is not answered yet.
        """
        front = self.front()
        if self._living is None:
            self._living = LivingProcesses(front.storage, front.lease)
        mine = KeptAnswer(state="running", process=front.lease.hold(), created_at=self.clock())
        while True:
            try:
                return front.storage.put(key, _encoded(mine), if_absent=True)
            except AlreadyExists:
                pass
            try:
                found, etag = records.read(front.storage, key, _parse)
            except NotFound:
                continue
            if self.clock() - found.created_at < KEPT:
                if found.state == "done":
                    return found
                if self._living.lives(found.process):
                    raise Refusal(409, f"{HEADER}: the first request with this key is not answered yet; wait for it", 5)
            try:
                return front.storage.put(key, _encoded(mine), if_match=etag)
            except Changed:
                continue

    async def _first(self, key: str, etag: str, scope: Scope, receive: Receive, send: Send) -> None:
        digest = _Fingerprint(scope)
        answer = _Captured()

        async def digested() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                digest.update(message.get("body", b""))
            return message

        async def captured(message: Message) -> None:
            answer.add(message)
            if answer.is_complete:
                # Stored before the client has all of it, so that a client that has it can send the request again.
                await asyncio.shield(self._end(key, etag, digest.hexdigest(), answer))
            await send(message)

        try:
            await self.app(scope, digested, captured)
        finally:
            if not answer.is_complete:
                await asyncio.shield(self._end(key, etag, "", None))

    async def _end(self, key: str, etag: str, fingerprint: str, answer: _Captured | None) -> None:
        """Store the answer; free the key if there is none that made something. Later, if storage is unavailable."""
        process, now = self.front().lease.name, self.clock()
        kept = await asyncio.to_thread(answer.kept, process, now, fingerprint) if answer else None
        if not await asyncio.to_thread(self._store, key, etag, kept):
            late = asyncio.create_task(self._store_later(key, etag, kept))
            self._late.add(late)
            late.add_done_callback(self._late.discard)

    async def _store_later(self, key: str, etag: str, kept: KeptAnswer | None) -> None:
        while True:
            await asyncio.sleep(STORE_AGAIN_SECONDS)
            if await asyncio.to_thread(self._store, key, etag, kept):
                return

    def _store(self, key: str, etag: str, kept: KeptAnswer | None) -> bool:
        """Store an answer, or free the key. False if storage is unavailable."""
        storage = self.front().storage
        try:
            if kept:
                storage.put(key, _encoded(kept), if_match=etag)
            else:
                storage.delete(key)
        except Changed as error:
            log.warning("the answer of a request with an %s was not kept: %s", HEADER, error)
        except Unavailable as error:
            log.warning("the answer of a request with an %s is not kept yet: %s", HEADER, error.message)
            return False
        return True

    async def _again(self, kept: KeptAnswer, scope: Scope, receive: Receive, folder: Path) -> Response:
        """The kept answer to the same request. A track is not read into memory, but where it is part of a document.

        Args:
            folder: for a copy of the track, if it is not on this machine.

        Raises:
            Refusal: 422, it is another request; 409, the track that the first one made is gone.
        """
        digest = _Fingerprint(scope)
        while (message := await receive())["type"] == "http.request":
            digest.update(message.get("body", b""))
            if not message.get("more_body", False):
                break
        if digest.hexdigest() != kept.fingerprint:
            raise Refusal(422, f"{HEADER}: it was used for another request; send a new key with this one")
        headers = kept.headers | {"idempotency-replayed": "true"}
        if kept.track is None:
            return Response(kept.document.encode(), kept.status, headers)
        file = await asyncio.to_thread(self._track, kept.track, folder)
        if not kept.document:
            return FileResponse(file, kept.status, headers)
        return Response(await asyncio.to_thread(_with_audio, kept.document, file), kept.status, headers)

    def _track(self, key: str, folder: Path) -> Path:
        """The track's file. Raises Refusal: 409, it is gone; 507, the disk for temporary files is full."""
        front = self.front()
        file = front.outbox.waiting(key) or front.storage.local(key)
        try:
            if file is None:
                file = folder / "track"
                with temporary_space():
                    front.storage.get_file(key, file)
            elif not file.exists():
                raise NotFound(key)
        except NotFound:
            gone = f"the track that the first request made, {keys.to_path(key)}, was deleted"
            raise Refusal(409, f"{HEADER}: {gone}") from None
        return file


class _Fingerprint:
    """The digest of a request: its method, path, query and body, without the boundary of a form, which is random."""

    def __init__(self, scope: Scope) -> None:
        line = f"{scope['method']} {scope['path']}?".encode() + scope["query_string"] + b"\n"
        self._digest = hashlib.sha256(line)
        found = _BOUNDARY.search(Headers(scope=scope).get("content-type", ""))
        self._boundary = found[1].encode("latin-1") if found else b""
        self._rest = b""

    def update(self, data: bytes) -> None:
        if not self._boundary:
            self._digest.update(data)
            return
        data = (self._rest + data).replace(self._boundary, b"")
        whole = max(0, len(data) - len(self._boundary) + 1)  # a boundary may be cut in two
        self._digest.update(data[:whole])
        self._rest = data[whole:]

    def hexdigest(self) -> str:
        digest = self._digest.copy()
        digest.update(self._rest)
        return digest.hexdigest()


class _Captured:
    """An answer as it is sent."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.parts: list[bytes] = []
        self.is_complete = False

    def add(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            if _TRACK_HEADER not in self.headers:  # else the body is the track, which is stored
                self.parts.append(message.get("body", b""))
            self.is_complete = not message.get("more_body", False)

    def kept(self, process: str, created_at: datetime, fingerprint: str) -> KeptAnswer | None:
        """The answer to store; None if it is an error, or too large."""
        if self.status >= 400:
            return None
        body, track = b"".join(self.parts), None
        if path := self.headers.get(_TRACK_HEADER):
            track = keys.from_path(path)
        elif _AUDIO_FIELD in body and "audio_base64" in (document := json.loads(body)):
            track = keys.from_path(document["output_path"])
            body = json.dumps(document | {"audio_base64": ""}).encode()
        if len(body) > _MAX_DOCUMENT_BYTES:
            log.warning("an answer of %d bytes was not kept for its %s", len(body), HEADER)
            return None
        kept = {
            name: value
            for name, value in self.headers.items()
            if name in _KEPT_HEADERS or (name.startswith(_KEPT_PREFIX) and name != "x-request-id")
        }
        return KeptAnswer(
            state="done",
            process=process,
            created_at=created_at,
            fingerprint=fingerprint,
            status=self.status,
            headers=kept,
            document=body.decode(),
            track=track,
        )


def _with_audio(kept: str, file: Path) -> bytes:
    document: dict[str, Any] = json.loads(kept)
    return json.dumps(document | {"audio_base64": base64.b64encode(file.read_bytes()).decode()}).encode()


def _storage_key(given: list[str]) -> str:
    """Where the answer is stored, for this caller. Raises Refusal (400)."""
    return work_keys.idempotent_answer(key_digest(given))


def _encoded(answer: KeptAnswer) -> bytes:
    return answer.model_dump_json().encode()


def _parse(data: bytes, key: str) -> KeptAnswer:
    return KeptAnswer.model_validate_json(data)
