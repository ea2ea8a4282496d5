"""Authentication by API key, or, while there is none, by the request's coming from this machine; scopes and limits.

Every request gets a Principal here. Handlers ask it which producers it may see and change (core.principal); what
another producer has is answered as if it did not exist.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from concurrent.futures import Future

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth.keys import Key, KeyRing
from api.auth.origin import address_of, normalised, why_not_local
from api.auth.rates import Rates
from api.capacity.request_limits import RequestLimits
from api.capacity.thread_pools import ACCESS
from api.routes.table import route_of
from core.asgi.responses import error_response
from core.errors import Refusal
from core.logs import note
from core.principal import LOCAL, NOBODY, Principal, acting
from core.settings import Settings
from storage import Unavailable

_NO_KEY_YET = (
    "authorization: this service has no API key yet, and so serves programs on its own machine only; this request is "
    "none: {why}; make a key there with `python -m api.auth.keys create` and send it as `Authorization: Bearer <key>` "
    "(or set ALLOW_ANONYMOUS=true)"
)
_WANTS_KEY = "authorization: send an API key as `Authorization: Bearer <key>`"

# In this header the holder of a key with `names_visitors` names its visitor's address; with other keys it is ignored.
VISITOR_HEADER = "x-visitor-address"
# All visitors of such a key together may do as much as this number of them.
_VISITORS = 20
# Storage has this time to give the keys; after that they count as they were last read.
_PATIENCE_SECONDS = 2.0


class Access:
    """ASGI middleware.

    Args:
        ring: the API keys, once the service has started.
        limits: of requests at once; those of the settings by default.
        cors: the app answers CORS preflights.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        ring: Callable[[], KeyRing],
        limits: RequestLimits | None = None,
        cors: bool = False,
    ) -> None:
        self.app = app
        self.settings = settings
        self.ring = ring
        self.limits = limits or RequestLimits(settings)
        self.cors = cors
        self.rates = Rates()
        self._refresh: Future[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        route = route_of(scope) if scope["type"] == "http" else None
        if route is None or route.scopes is None:
            await self.app(scope, receive, send)
            return
        try:
            if scope["method"] == "OPTIONS":  # a CORS preflight, which carries no key
                self._within_rate(self._stranger(scope))
                await self._answer_options(scope, receive, send)
                return
            who = await self._identify(scope)
            note(principal=who.name)
            if who.visitor is not None:
                note(visitor=who.visitor)
            self._within_rate(who)
            _check_scope(who, route.scopes)
            give_back = self.limits.take(route.stream, who.askers, limited=who is not LOCAL)
        except Refusal as refusal:
            headers = {"www-authenticate": route.challenge} if refusal.status == 401 else {}
            await error_response(refusal.status, refusal.message, headers, refusal.wait)(scope, receive, send)
            return

        async def until_answered(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                give_back()  # a task's work goes on after its answer

        try:
            with acting(who):
                await self.app(_without_secrets(scope), receive, until_answered)
        finally:
            give_back()

    async def _answer_options(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer without reading the body: a preflight by BentoML's CORS middleware, where that is on."""
        headers = Headers(scope=scope)
        if self.cors and "origin" in headers and "access-control-request-method" in headers:
            with acting(NOBODY):
                await self.app(scope, _no_body, send)
        else:
            await Response(status_code=204)(scope, receive, send)

    async def _identify(self, scope: Scope) -> Principal:
        """Raises Refusal (400, 401, 503)."""
        headers, ring = Headers(scope=scope), self.ring()
        await self._read_keys(ring)
        if given := headers.getlist("authorization"):
            token = _token(given)
            key = None if token is None else ring.find(token)
            if key is None:
                raise Refusal(401, "authorization: this is no API key of this service; it may have been revoked")
            return self._of(key, _visitor(headers) if key.names_visitors else None)
        if ring.needed and not self.settings.allow_anonymous:
            raise Refusal(401, _WANTS_KEY)
        why = why_not_local(scope)
        if why is None:
            return LOCAL
        if self.settings.allow_anonymous:
            return self._stranger(scope)
        raise Refusal(401, _NO_KEY_YET.format(why=why))

    async def _read_keys(self, ring: KeyRing) -> None:
        """Read the keys if they are no longer fresh. All requests wait for one reader, for _PATIENCE_SECONDS at most.

        Raises:
            Unavailable: the keys were never read.
        """
        if ring.fresh:
            return
        if self._refresh is None or self._refresh.done():
            self._refresh = ACCESS.submit(ring.refresh)
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._refresh)), _PATIENCE_SECONDS)
        except TimeoutError:
            if not ring.known:
                raise Unavailable(503, "the storage of the API keys does not answer; try again later") from None

    def _stranger(self, scope: Scope) -> Principal:
        limit = self.settings.key_requests_per_minute
        return Principal(f"anonymous at {address_of(scope)}", requests_per_minute=limit)

    def _of(self, key: Key, visitor: str | None) -> Principal:
        config = self.settings
        return Principal(
            f"key {key.id}",
            frozenset(key.scopes),
            None if key.producers is None else frozenset(key.producers),
            key.requests_per_minute or config.key_requests_per_minute,
            config.key_jobs_at_once if key.jobs_at_once is None else key.jobs_at_once,
            visitor,
        )

    def _within_rate(self, who: Principal) -> None:
        """Raises Refusal (429)."""
        *groups, asker = who.askers
        own = who.requests_per_minute
        if not own:
            return
        for name, limit in [(asker, own), *((group, own * _VISITORS) for group in groups)]:
            if wait := self.rates.wait(name, limit):
                raise Refusal(429, f"more than {limit} requests a minute; try again in {wait} s", wait)


def _check_scope(who: Principal, needed: frozenset[str]) -> None:
    """Raise Refusal (403) unless the principal has one of the scopes."""
    if not who.scopes & needed:
        raise Refusal(403, f"authorization: this API key lacks the scope {' or '.join(sorted(needed))}")


def _without_secrets(scope: Scope) -> Scope:
    """The scope without the headers that are used up here: BentoML stores a task's headers in its database."""
    scope = dict(scope, headers=list(scope["headers"]))
    for name in ("authorization", VISITOR_HEADER):
        del MutableHeaders(scope=scope)[name]
    return scope


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def _visitor(headers: Headers) -> str | None:
    """Raises Refusal (400)."""
    given = headers.getlist(VISITOR_HEADER)
    if not given:
        return None
    address = normalised(given[0]) if len(given) == 1 else None
    if address is None:
        raise Refusal(400, f"{VISITOR_HEADER}: it is not an IP address; send the visitor's, or leave it out")
    return address


def _token(headers: list[str]) -> str | None:
    """The API key in `Authorization`: as Bearer, or, for people with a browser, as the password of Basic.

    None if there is not one such header, or it is malformed.
    """
    kind, _, value = headers[0].strip().partition(" ")
    if len(headers) != 1:
        return None
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None
