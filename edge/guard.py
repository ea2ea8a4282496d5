"""What is refused before a body is read: too large, of the wrong type, without the password."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.errors import error_response
from settings import Settings

PASSWORD_HEADER = "x-train-password"
_JSON = {"/store-upload", "/train", "/train/submit", "/generate"}
_FORMS = {"/uploads", "/loras/import"}
# What a form may take beside its file.
_FORM_BYTES = 2**16


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.password = settings.nawfside_app_password

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
        body = _Limited(receive, limit)

        async def unless_too_large(message: Message) -> None:
            if not body.exceeded:
                await send(message)
            elif message["type"] == "http.response.start":
                await error_response(413, _too_large(scope, limit))(scope, receive, send)

        await self.app(scope, body, unless_too_large)

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
        return self.settings.max_body_bytes

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


class _Limited:
    """Counts a body as it comes, for one whose length was not stated; over the limit it breaks off."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self.receive = receive
        self.left = limit

    @property
    def exceeded(self) -> bool:
        return self.left < 0

    async def __call__(self) -> Message:
        message = await self.receive()
        if message["type"] == "http.request":
            self.left -= len(message.get("body", b""))
            if self.exceeded:
                return {"type": "http.disconnect"}
        return message


def _too_large(scope: Scope, limit: int) -> str:
    size = f"{limit / 2**20:.4g} MB" if limit >= 2**20 else f"{limit} bytes"
    if scope["path"] in _FORMS:
        return f"the body is over {size}; send a smaller file (MAX_UPLOAD_BYTES is the operator's limit)"
    mend = "send the file to /uploads instead" if scope["path"] == "/store-upload" else "send less"
    return f"the body is over {size}; {mend} (MAX_BODY_BYTES is the operator's limit)"
