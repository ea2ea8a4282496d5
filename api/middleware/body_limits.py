"""Checks before and while a body is read: password, content type, size, number of JSON values, speed, memory."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import Counter
from collections.abc import Callable, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.routes.forms import FORM_TYPES, content_type
from api.routes.route import Route
from api.routes.table import route_of
from core import metrics, principal
from core.asgi.responses import CLIENT_GONE, error_response
from core.settings import Settings

PASSWORD_HEADER = "x-train-password"  # nosec B105
# Bytes of a form besides its file.
_FORM_BYTES = 2**16
# Within each `body_silence_seconds` this many bytes of a body must come, or its rest: 2 KiB a second by default.
_MIN_BYTES = 2**16
# The limit of a JSON body that is no upload, if MAX_BODY_BYTES is larger.
_MAX_PLAIN_BYTES = 8 * 2**20
# A JSON value of two bytes takes far more memory and time to parse. The metadata of 100 files has a tenth of this.
_MAX_VALUES = 100_000


class BodyLimits:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.password = settings.nawfside_app_password
        self.memory = _BodyMemory(settings.max_bodies_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        route = route_of(scope)
        kind = content_type(Headers(scope=scope), "application/json")
        is_form = route.takes_form(kind)
        limit = self._limit(route, is_form)
        too_large = _too_large(route, is_form, limit)
        refusal = self._refusal(Headers(scope=scope), route, kind, limit, too_large)
        if refusal:
            await error_response(*refusal)(scope, receive, send)
            return
        # The password has been checked. It is removed, since BentoML stores a task's headers in its database.
        scope = dict(scope, headers=list(scope["headers"]))
        del MutableHeaders(scope=scope)[PASSWORD_HEADER]
        to_disk = is_form or route.spooled
        take_memory = None if to_disk else self.memory.of(principal.current().askers)
        values = None if is_form else _MAX_VALUES
        length = int(Headers(scope=scope).get("content-length", "0"))
        body = _Body(receive, limit, values, self.settings.body_silence_seconds, take_memory, length)
        refusals = {
            "large": (413, too_large),
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
                body.let_go()  # a task's work goes on after its answer

        try:
            await self.app(scope, body, unless_broken_off)
        except ClientDisconnect:
            if not body.broken_off:
                raise
        finally:
            body.let_go()
        if body.broken_off and not answered:
            await error_response(*refusals[body.broken_off])(scope, receive, send)

    def _refusal(self, headers: Headers, route: Route, kind: str, limit: int, too_large: str) -> tuple[int, str] | None:
        needs_password = self.password and route.writes and principal.current().subject is None
        if needs_password and not self._is_password(headers.get(PASSWORD_HEADER, "")):
            return 401, f"{PASSWORD_HEADER}: send the password of this service in this header"
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > limit:
            return 413, too_large
        if route.body and kind != "application/json" and not (route.accepts_forms and kind in FORM_TYPES):
            return 415, "content-type: send application/json"
        return None

    def _limit(self, route: Route, is_form: bool) -> int:
        """Bytes. A body that goes to disk as it comes may be larger than one that is held in memory."""
        if is_form:
            return self.settings.max_upload_bytes + _FORM_BYTES
        if route.spooled:
            return self.settings.max_body_bytes
        return min(self.settings.max_body_bytes, _MAX_PLAIN_BYTES)

    def _is_password(self, given: str) -> bool:
        assert self.password is not None
        # Starlette decodes headers as Latin-1; clients send the password as UTF-8.
        return hmac.compare_digest(given.encode("latin-1"), self.password.encode())


class _BodyMemory:
    """The memory for bodies, in bytes, shared by all requests. No asker may hold more than is left for the others."""

    def __init__(self, limit: int) -> None:
        self.limit = self.left = limit
        self._held: Counter[str] = Counter()
        metrics.BODIES.set(0)  # a process before this one may have left another value

    def of(self, askers: Sequence[str]) -> Callable[[int], bool]:
        """A function that takes bytes for these askers and returns whether there were enough; a negative number gives
        them back."""

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
    """Receives a body, and breaks it off if it breaks a limit or the client has gone.

    Attributes:
        broken_off: the reason: large, complex, slow, gone or many; empty while it has not been broken off.
    """

    def __init__(
        self,
        receive: Receive,
        limit: int,
        values: int | None,
        silence: float,
        take_memory: Callable[[int], bool] | None,
        length: int,
    ) -> None:
        self.receive = receive
        self.silence = self.patience = silence
        self.due = _MIN_BYTES
        self.take_memory = take_memory
        self.left = limit
        self.values_left = values
        self.length = length  # as declared
        self.taken = self.received = 0
        self.broken_off = ""
        self.ended = False

    async def __call__(self) -> Message:
        if self.ended:
            return await self.receive()  # which waits for the client to disconnect
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
            self.patience, self.due = self.silence, _MIN_BYTES
        self.left -= size
        if self.left < 0:
            return self._break_off("large")
        if self.values_left is not None:
            # Marks inside strings count as well, since only a parser could tell them apart.
            self.values_left -= sum(message.get("body", b"").count(mark) for mark in (b",", b"[", b"{"))
            if self.values_left < 0:
                return self._break_off("complex")
        self.received += size
        # The declared length is taken at once: of many bodies that begin together, some can then be completed.
        more = max(self.length, self.received) - self.taken
        if self.take_memory and more:
            if not self.take_memory(more):
                return self._break_off("many")
            self.taken += more
        self.ended = not message.get("more_body", False)
        return message

    def let_go(self) -> None:
        if self.take_memory and self.taken:
            self.take_memory(-self.taken)
            self.taken = 0

    def _break_off(self, why: str) -> Message:
        self.broken_off = why
        self.ended = True
        return {"type": "http.disconnect"}


def _too_slow(seconds: float) -> str:
    return f"less than {_MIN_BYTES >> 10} KiB of the body came within {seconds:g} s; send it again, or faster"


def _too_large(route: Route, is_form: bool, limit: int) -> str:
    size = f"{limit / 2**20:.4g} MB" if limit >= 2**20 else f"{limit} bytes"
    if is_form:
        return f"the body is over {size}; send a smaller file (MAX_UPLOAD_BYTES is the operator's limit)"
    mend = "send the file to /uploads instead" if route.spooled else "send less"
    return f"the body is over {size}; {mend} (MAX_BODY_BYTES is the operator's limit)"
