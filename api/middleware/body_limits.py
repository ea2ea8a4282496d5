"""What is refused before a body is read, or while it is: too large, too slow, of the wrong type, without the password,
or more at once than there is memory for."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import Counter
from collections.abc import Callable, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core import metrics, principal
from core.asgi.responses import CLIENT_GONE, error_response
from core.settings import Settings

PASSWORD_HEADER = "x-train-password"  # nosec B105
_JSON = {"/store-upload", "/train", "/train/submit", "/generate"}
_FORMS = {"/uploads", "/loras/import"}
# What goes to disk as it comes (api.routes.forms, api.middleware.upload_spool).
_TO_DISK = _FORMS | {"/store-upload"}
# What a form may take beside its file.
_FORM_BYTES = 2**16
# Bytes of a body that must come within each `body_silence_seconds`, or its rest: 2 KiB a second by default.
_LEAST_BYTES = 2**16
# The largest JSON body but that of an upload, whatever the operator allows.
_PLAIN_BYTES = 8 * 2**20
# The most values in a JSON body: each takes far more memory and time than its two bytes, and the metadata of a hundred
# files has a tenth of this.
_MAX_VALUES = 100_000


class BodyLimits:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.password = settings.nawfside_app_password
        self.room = _Room(settings.max_bodies_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal:
            await error_response(*refusal)(scope, receive, send)
            return
        # BentoML stores a task's headers in its database: the password has done its work and goes no further.
        scope = dict(scope, headers=list(scope["headers"]))
        del MutableHeaders(scope=scope)[PASSWORD_HEADER]
        limit = self._limit(scope)
        room = None if scope["path"] in _TO_DISK else self.room.of(principal.current().askers)
        values = None if scope["path"] in _FORMS else _MAX_VALUES
        length = int(Headers(scope=scope).get("content-length", "0"))
        body = _Body(receive, limit, values, self.settings.body_silence_seconds, room, length)
        refusals = {
            "large": (413, _too_large(scope, limit)),
            "complex": (413, f"the body has over {_MAX_VALUES} values; send what the request needs"),
            "slow": (408, _too_slow(self.settings.body_silence_seconds)),
            "gone": (CLIENT_GONE, "the client closed the connection before it had sent the body"),
            "many": (503, "too many large requests at once; try again in some seconds"),
        }
        answered = False

        async def unless_broken_off(message: Message) -> None:
            nonlocal answered
            if body.broken_off and not answered:
                return
            answered = True
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                body.let_go()  # a task goes on after its answer

        try:
            await self.app(scope, body, unless_broken_off)
        except ClientDisconnect:
            if not body.broken_off:
                raise
        finally:
            body.let_go()
        if body.broken_off and not answered:
            await error_response(*refusals[body.broken_off])(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        if self.password and writes(scope) and not self._knows(headers.get(PASSWORD_HEADER, "")):
            return 401, f"{PASSWORD_HEADER}: send the password of this service in this header"
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._limit(scope):
            return 413, _too_large(scope, self._limit(scope))
        kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and scope["path"] in _JSON and kind != "application/json":
            return 415, "content-type: send application/json"
        return None

    def _limit(self, scope: Scope) -> int:
        """Files that go to disk as they come may be larger than what is held in memory."""
        if scope["path"] in _FORMS:
            return self.settings.max_upload_bytes + _FORM_BYTES
        if scope["path"] == "/store-upload":
            return self.settings.max_body_bytes
        return min(self.settings.max_body_bytes, _PLAIN_BYTES)

    def _knows(self, given: str) -> bool:
        assert self.password is not None
        # Headers are bytes that were read as Latin-1; clients send the password's UTF-8.
        return hmac.compare_digest(given.encode("latin-1"), self.password.encode())


def writes(scope: Scope) -> bool:
    """Whether the request changes what is stored, and so needs the password where one is set."""
    path, method = scope["path"], scope["method"]
    if path == "/store-upload" or path.startswith(("/uploads", "/train")):
        return True
    return method not in ("GET", "HEAD", "OPTIONS") and path.startswith(("/jobs/", "/loras/", "/producers/"))


class _Room:
    """What all bodies together may take of memory, in bytes. Nobody has more of it than is left for others."""

    def __init__(self, limit: int) -> None:
        self.limit = self.left = limit
        self._held: Counter[str] = Counter()
        metrics.BODIES.set(0)  # whatever a process before this one left

    def of(self, askers: Sequence[str]) -> Callable[[int], bool]:
        """Takes room for so many more bytes of these askers, and says whether there was; a negative size gives back."""

        def take(size: int) -> bool:
            if size > 0 and any(self._held[asker] + size > self.left - size for asker in askers):
                return False
            self.left -= size
            for asker in askers:
                self._held[asker] += size
                if not self._held[asker]:
                    del self._held[asker]
            metrics.BODIES.set(self.limit - self.left)
            return True

        return take


class _Body:
    """A body as it comes. It breaks off, and says why, if it is too large or complex or slow, there is no room for it,
    or its client has gone."""

    def __init__(
        self,
        receive: Receive,
        limit: int,
        values: int | None,
        silence: float,
        room: Callable[[int], bool] | None,
        length: int,
    ) -> None:
        self.receive = receive
        self.silence = self.patience = silence
        self.due = _LEAST_BYTES
        self.room = room
        self.left = limit
        self.values_left = values
        self.length = length  # as declared
        self.taken = self.received = 0
        self.broken_off = ""
        self.ended = False

    async def __call__(self) -> Message:
        if self.ended:
            return await self.receive()  # it waits for the client to go away
        start = time.monotonic()
        try:
            async with asyncio.timeout(self.patience):
                message = await self.receive()
        except TimeoutError:
            return self._break_off("slow")
        self.patience -= time.monotonic() - start  # only the client's time counts
        if message["type"] != "http.request":
            return self._break_off("gone")
        size = len(message.get("body", b""))
        self.due -= size
        if self.due <= 0:
            self.patience, self.due = self.silence, _LEAST_BYTES
        self.left -= size
        if self.left < 0:
            return self._break_off("large")
        if self.values_left is not None:
            # What stands within texts is counted as well: to tell them apart is to parse.
            self.values_left -= sum(message.get("body", b"").count(mark) for mark in (b",", b"[", b"{"))
            if self.values_left < 0:
                return self._break_off("complex")
        self.received += size
        # What is declared at once: of many bodies some then come to their end.
        more = max(self.length, self.received) - self.taken
        if self.room and more:
            if not self.room(more):
                return self._break_off("many")
            self.taken += more
        self.ended = not message.get("more_body", False)
        return message

    def let_go(self) -> None:
        if self.room and self.taken:
            self.room(-self.taken)
            self.taken = 0

    def _break_off(self, why: str) -> Message:
        self.broken_off = why
        self.ended = True
        return {"type": "http.disconnect"}


def _too_slow(seconds: float) -> str:
    return f"less than {_LEAST_BYTES >> 10} KiB of the body came within {seconds:g} s; send it again, or faster"


def _too_large(scope: Scope, limit: int) -> str:
    size = f"{limit / 2**20:.4g} MB" if limit >= 2**20 else f"{limit} bytes"
    if scope["path"] in _FORMS:
        return f"the body is over {size}; send a smaller file (MAX_UPLOAD_BYTES is the operator's limit)"
    mend = "send the file to /uploads instead" if scope["path"] == "/store-upload" else "send less"
    return f"the body is over {size}; {mend} (MAX_BODY_BYTES is the operator's limit)"
