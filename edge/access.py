"""Who asks, and what they may: by API key, or, while there is none, by being on this machine.

Every request is given a Principal here; whatever serves it asks that for the producers it may touch (`own`, `sees`).
What another producer has is answered as if it did not exist.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from edge.errors import error_response
from edge.journal import note
from edge.keys import SCOPES, Key, KeyRing
from edge.rates import Rates
from errors import Refusal
from settings import Settings
from storage.keys import shown

# What needs no key: whether the service lives, for those who watch it.
_OPEN = {"/livez", "/readyz", "/healthz"}
# Which scopes may do what; the first row that fits counts, and what fits none is the operator's.
_ANY, _GENERATE, _TRAIN = frozenset(SCOPES), frozenset({"generate", "admin"}), frozenset({"train", "admin"})
_ADMIN = frozenset({"admin"})
_READS = ("GET", "HEAD")
_ROUTES: list[tuple[tuple[str, ...], str, frozenset[str]]] = [
    (("POST",), r"/generate", _GENERATE),
    (_READS, r"/queue/.*", _GENERATE),
    (_READS, r"/loras/.*/file", _TRAIN),
    (_READS, r"/(backends|status|loras(/.*)?|data/outputs/.*|(docs|schema)\.json|static_content/.*)?", _ANY),
    (_READS, r"/(jobs|datasets|producers)(/.*)?", _TRAIN),
    (("POST", "PUT", *_READS), r"/(store-upload|uploads(/.*)?|train(/.*)?)", _TRAIN),
    (("POST", "DELETE"), r"/(jobs|loras|producers)/.*", _TRAIN),
]
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_NO_KEY_YET = (
    "authorization: this service has no API key yet, and so serves its own machine only; make one there with "
    "`python -m edge.keys create` and send it as `Authorization: Bearer <key>` (or set ALLOW_ANONYMOUS=true)"
)
_WANTS_KEY = "authorization: send an API key as `Authorization: Bearer <key>`"


@dataclass(frozen=True)
class Principal:
    """Who asks. `producers` None means every producer; a limit of None means none."""

    name: str
    scopes: frozenset[str] = _ANY
    producers: frozenset[str] | None = None
    requests_per_minute: int | None = None
    jobs_at_once: int | None = None

    def sees(self, producer: str) -> bool:
        return self.producers is None or producer in self.producers


LOCAL = Principal("this machine")
NOBODY = Principal("nobody", frozenset(), frozenset())
# Outside of a request (the command line, a job) the service acts for itself.
ITSELF = Principal("the service")
_current: ContextVar[Principal | None] = ContextVar("principal", default=None)


@contextmanager
def _acting(who: Principal) -> Iterator[None]:
    token = _current.set(who)
    try:
        yield
    finally:
        _current.reset(token)


def principal() -> Principal:
    """Who asks for what is being done."""
    return _current.get() or ITSELF


def sees(producer: str) -> bool:
    """Whether who asks may know of what this producer has."""
    return principal().sees(producer)


def own(producer: str, field: str = "producer_id") -> None:
    """Refuse (403) to write for a producer that the key is not for. It tells nothing of whether there is one."""
    note(producer_id=shown(producer))
    if not sees(producer):
        raise Refusal(403, f"{field}: this API key is not for {shown(producer)}; use that producer's")


class Access:
    """ASGI middleware. `ring`: the keys, once there is a service."""

    def __init__(self, app: ASGIApp, settings: Settings, ring: Callable[[], KeyRing]) -> None:
        self.app = app
        self.settings = settings
        self.ring = ring
        self.rates = Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http" or scope["path"] in _OPEN:
            await self.app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":  # a browser's question before the question, which carries no key
            with _acting(NOBODY):
                await self.app(scope, receive, send)
            return
        try:
            who = await asyncio.to_thread(self._identify, scope)
            note(principal=who.name)
            self._within_rate(who)
            self._permit(who, scope)
        except Refusal as refusal:
            headers = {"www-authenticate": _challenge(scope)} if refusal.status == 401 else {}
            await error_response(refusal.status, refusal.message, headers, refusal.wait)(scope, receive, send)
            return
        # BentoML stores a task's headers in its database: the key has done its work and goes no further.
        scope = dict(scope, headers=list(scope["headers"]))
        del MutableHeaders(scope=scope)["authorization"]
        with _acting(who):
            await self.app(scope, receive, send)

    def _identify(self, scope: Scope) -> Principal:
        """Raises Refusal (401)."""
        headers = Headers(scope=scope)
        ring = self.ring()
        if given := _token(headers.getlist("authorization")):
            key = ring.find(given)
            if key is None:
                raise Refusal(401, "authorization: this is no API key of this service; it may have been revoked")
            return self._of(key)
        if self.settings.allow_anonymous:
            client = (scope.get("client") or ("unknown",))[0]
            if is_local(scope):
                return LOCAL
            return Principal(f"anonymous at {client}", requests_per_minute=self.settings.key_requests_per_minute)
        if len(ring):
            raise Refusal(401, _WANTS_KEY)
        if not is_local(scope):
            raise Refusal(401, _NO_KEY_YET)
        return LOCAL

    def _of(self, key: Key) -> Principal:
        config = self.settings
        return Principal(
            f"key {key.id}",
            frozenset(key.scopes),
            None if key.producers is None else frozenset(key.producers),
            key.requests_per_minute or config.key_requests_per_minute,
            config.key_jobs_at_once if key.jobs_at_once is None else key.jobs_at_once,
        )

    def _within_rate(self, who: Principal) -> None:
        """Raises Refusal (429)."""
        most = who.requests_per_minute
        if most and (wait := self.rates.wait(who.name, most)):
            raise Refusal(429, f"more than {most} requests a minute; try again in {wait} s", wait)

    def _permit(self, who: Principal, scope: Scope) -> None:
        needed = needed_scopes(scope["method"], scope["path"])
        if not who.scopes & needed:
            raise Refusal(403, f"authorization: this API key lacks the scope {' or '.join(sorted(needed))}")


def needed_scopes(method: str, path: str) -> frozenset[str]:
    """Those of which a key must have one."""
    for methods, pattern, scopes in _ROUTES:
        if method in methods and re.fullmatch(pattern, path, re.DOTALL):
            return scopes
    return _ADMIN


def is_local(scope: Scope) -> bool:
    """Whether the client is a program on this machine, and neither a proxy's client nor a stranger's web page.

    A page can make the browser of whoever runs the service send requests to it: under a name of the page's own that
    resolves to this machine, which Host tells, or across sites, which Origin tells.
    """
    client = scope.get("client")
    if not client or not _is_loopback(client[0]):
        return False
    headers = Headers(scope=scope)
    if any(name in headers for name in _FORWARDED):
        return False
    if not _is_loopback(_host(headers.get("host", "localhost"))):
        return False
    origin = headers.get("origin")
    return origin is None or _is_loopback(_host(origin.partition("://")[2]))


def _host(authority: str) -> str:
    """Without its port."""
    return re.sub(r":\d*$", "", authority).strip("[]")


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _token(headers: list[str]) -> str:
    """The key in `Authorization`: as a bearer's, or, for people with a browser, as the password of Basic."""
    if len(headers) != 1:
        return "" if not headers else "none, since there are several"
    kind, _, value = headers[0].strip().partition(" ")
    if kind.lower() == "bearer":
        return value.strip() or "none"
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2] or "none"
        except (binascii.Error, UnicodeDecodeError):
            return "none"
    return "none, since it is of another kind"


def _challenge(scope: Scope) -> str:
    return 'Basic realm="producer twin"' if scope["path"] == "/status" else "Bearer"
