"""Authentication, scopes and limits of requests. Without sign-in and API keys, only this machine is served.

Every request gets a principal here. Handlers ask it which producers it may see and change (core.principal). Objects of
other producers are answered as if they did not exist.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth.keys import PREFIX, Key, KeyRing
from api.auth.origin import address_of, normalised, why_not_local
from api.auth.rates import Rates
from api.auth.sign_in import SignIn
from api.capacity.request_limits import RequestLimits
from api.capacity.thread_pools import ACCESS
from api.routes.table import route_of
from core.asgi.responses import error_response
from core.errors import Refusal
from core.logs import note
from core.principal import LOCAL, NOBODY, SHARED_TRACKS, Principal, acting
from core.settings import Settings
from storage import Unavailable

_NO_KEY_YET = (
    "authorization: this service has no API key yet, and so serves programs on its own machine only; this request is "
    "none: {why}; make a key there with `python -m api.auth.keys create` and send it as `Authorization: Bearer <key>` "
    "(or set ALLOW_ANONYMOUS=true)"
)
_WANTS_KEY = "authorization: send an API key as `Authorization: Bearer <key>`"
_WANTS_TOKEN = "authorization: sign in and send the token, or send an API key, as `Authorization: Bearer …`"  # nosec B105

# The address of the visitor for whom the holder of a key with `names_visitors` asks; ignored with other keys.
VISITOR_HEADER = "x-visitor-address"
# The secrets of twin links, separated by commas; ignored without sign-in.
LINK_HEADER = "x-twin-link"
MAX_LINKS = 8  # as many as twins in a blend
_MAX_LINK_CHARACTERS = 64
# The rate limit of all visitors of such a key together, as a multiple of one visitor's.
_VISITORS_RATIO = 20
# If storage takes longer than this to return the keys, those that were last read count.
_PATIENCE_SECONDS = 2.0


class Access:
    """ASGI middleware: authenticates each request, makes its principal the current one, and applies the limits.

    Args:
        key_ring: returns the API keys, once the service has started.
        limits: the slots for concurrent requests.
        cors: the app answers CORS preflights.
        sign_in: returns what makes principals of tokens, once the service has started; None if users cannot sign in.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        key_ring: Callable[[], KeyRing],
        limits: RequestLimits,
        cors: bool = False,
        sign_in: Callable[[], SignIn | None] = lambda: None,
    ) -> None:
        self.app = app
        self.settings = settings
        self.key_ring = key_ring
        self.limits = limits
        self.cors = cors
        self.sign_in = sign_in
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
                self._check_rate(self._anonymous(scope))
                await self._answer_options(scope, receive, send)
                return
            principal, sign_in = await self._identify(scope), self.sign_in()
            note(principal=principal.name)
            if principal.visitor is not None:
                note(visitor=principal.visitor)
            self._check_rate(principal)
            _check_scope(principal, route.scopes)
            if sign_in:  # after the rate is checked, since it may read storage
                principal = await sign_in.with_owned_producers(principal, fresh=route.writes)
            give_back = self.limits.take(route.stream, principal.askers, limited=principal is not LOCAL)
        except Refusal as refusal:
            headers = {"www-authenticate": route.challenge} if refusal.status == 401 else {}
            await error_response(refusal.status, refusal.message, headers, refusal.wait)(scope, receive, send)
            return

        async def until_answered(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                give_back()  # a task's work goes on after its answer

        try:
            with acting(principal):
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
        headers, key_ring, sign_in = Headers(scope=scope), self.key_ring(), self.sign_in()
        given = headers.getlist("authorization")
        token = _token(given) if given else None
        if sign_in and token is not None and not token.startswith(f"{PREFIX}_"):
            return await sign_in.principal(token, _links(headers))
        await self._refresh_keys(key_ring)
        if given:
            key = None if token is None else key_ring.find(token)
            if key is None:
                raise Refusal(401, "authorization: this is no API key of this service; it may have been revoked")
            return self._principal_of(key, _visitor(headers) if key.names_visitors else None, headers)
        if sign_in:
            # No rights come from the sender's machine: a web app on it sends requests of people who are not signed in.
            if not self.settings.allow_anonymous:
                raise Refusal(401, _WANTS_TOKEN)
            return self._guest(scope, headers)
        if key_ring.needed and not self.settings.allow_anonymous:
            raise Refusal(401, _WANTS_KEY)
        why = why_not_local(scope)
        if why is None:
            return LOCAL
        if self.settings.allow_anonymous:
            return self._anonymous(scope)
        raise Refusal(401, _NO_KEY_YET.format(why=why))

    async def _refresh_keys(self, key_ring: KeyRing) -> None:
        """Read the keys if they are no longer fresh. All requests wait for one reader, for _PATIENCE_SECONDS at most.

        Raises:
            Unavailable: the keys were never read.
        """
        if key_ring.fresh:
            return
        if self._refresh is None or self._refresh.done():
            self._refresh = ACCESS.submit(key_ring.refresh)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await asyncio.shield(asyncio.wrap_future(self._refresh))
        except TimeoutError:
            if not key_ring.known:
                raise Unavailable(503, "the storage of the API keys does not answer; try again later") from None

    def _anonymous(self, scope: Scope) -> Principal:
        limit = self.settings.key_requests_per_minute
        return Principal(f"anonymous at {address_of(scope)}", requests_per_minute=limit, is_anonymous=True)

    def _guest(self, scope: Scope, headers: Headers) -> Principal:
        """Somebody who has not signed in, where others have: may generate with the base model and open twins."""
        return replace(
            self._anonymous(scope),
            scopes=frozenset({"generate"}),
            producers=frozenset(),
            tracks=SHARED_TRACKS,
            links=_links(headers),
        )

    def _principal_of(self, key: Key, visitor: str | None, headers: Headers) -> Principal:
        config, has_sign_in = self.settings, self.sign_in() is not None
        return Principal(
            f"key {key.id}",
            frozenset(key.scopes),
            None if key.producers is None else frozenset(key.producers),
            key.requests_per_minute or config.key_requests_per_minute,
            config.key_jobs_at_once if key.jobs_at_once is None else key.jobs_at_once,
            visitor,
            may_claim=key.producers is None,
            tracks=f"key-{key.id}" if has_sign_in else None,
            links=_links(headers) if has_sign_in else frozenset(),
        )

    def _check_rate(self, principal: Principal) -> None:
        """Raise Refusal (429) if the principal or its group has sent too many requests."""
        *groups, asker = principal.askers
        own = principal.requests_per_minute
        if not own:
            return
        for name, limit in [(asker, own), *((group, own * _VISITORS_RATIO) for group in groups)]:
            if wait := self.rates.wait(name, limit):
                raise Refusal(429, f"more than {limit} requests a minute; try again in {wait} s", wait)


def _check_scope(principal: Principal, needed: frozenset[str]) -> None:
    """Raise Refusal (401, 403) unless the principal has one of the scopes."""
    if principal.scopes & needed:
        return
    if principal.subject is not None:
        raise Refusal(403, "authorization: this is for administrators")
    if principal.tracks == SHARED_TRACKS:
        raise Refusal(401, _WANTS_TOKEN)
    raise Refusal(403, f"authorization: this API key lacks the scope {' or '.join(sorted(needed))}")


def _without_secrets(scope: Scope) -> Scope:
    """The scope without secret headers, since BentoML stores a task's headers in its database."""
    scope = dict(scope, headers=list(scope["headers"]))
    for name in ("authorization", VISITOR_HEADER, LINK_HEADER):
        del MutableHeaders(scope=scope)[name]
    return scope


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def _visitor(headers: Headers) -> str | None:
    """The visitor's address; None if none is named. Raises Refusal (400)."""
    given = headers.getlist(VISITOR_HEADER)
    if not given:
        return None
    address = normalised(given[0]) if len(given) == 1 else None
    if address is None:
        raise Refusal(400, f"{VISITOR_HEADER}: it is not an IP address; send the visitor's, or leave it out")
    return address


def _links(headers: Headers) -> frozenset[str]:
    """The secrets of twin links."""
    given = [each.strip() for value in headers.getlist(LINK_HEADER) for each in value.split(",", MAX_LINKS)[:MAX_LINKS]]
    return frozenset(each for each in given[:MAX_LINKS] if 0 < len(each) <= _MAX_LINK_CHARACTERS)


def _token(headers: list[str]) -> str | None:
    """The API key or token in `Authorization`: as Bearer, or, for people with a browser, as the password of Basic.

    None unless there is exactly one such header, and it is well-formed.
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
