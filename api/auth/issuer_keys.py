"""The public keys of the sign-in issuer (JWKS): fetched in a thread of their own, cached, and fetched again.

PyJWT's `PyJWKClient` is not used: it follows redirects, reads answers of any size, and has no keys while the issuer
does not answer. Its parser of single keys (`PyJWK`) is.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
import jwt

from core.plain_json import decode_object
from core.text import shown
from core.urls import is_https_or_loopback, same_origin
from storage import Unavailable

log = logging.getLogger("producer_twin.edge")

# In seconds. Older keys are fetched again, and count meanwhile.
MAX_AGE = 300.0
# Keys that could not be fetched again for this time are no longer trusted.
MAX_STALE = 24 * 3600.0
# A request with a key id that is unknown has the keys fetched again, if they were not within this time.
UNKNOWN_KEY_PAUSE = 60.0
# The pause between two attempts while the keys have never been fetched.
FIRST_KEYS_PAUSE = 5.0
# A request waits for the keys no longer than this.
PATIENCE = 2.0
CONNECT_OR_READ_TIMEOUT = 5.0
FETCH_TIMEOUT = 10.0

MAX_BYTES = 256 * 2**10
MAX_KEYS = 64
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192

# The algorithm that keys of a type and a curve sign with, the values that their `alg` may have, and their members.
_KINDS: dict[tuple[Any, Any], tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    ("RSA", None): ("RS256", ("RS256",), ("kty", "n", "e")),
    ("EC", "P-256"): ("ES256", ("ES256",), ("kty", "crv", "x", "y")),
    ("OKP", "Ed25519"): ("EdDSA", ("EdDSA", "Ed25519"), ("kty", "crv", "x")),
}
ALGORITHMS = frozenset(algorithm for algorithm, _, _ in _KINDS.values())


class FetchError(Exception):
    """The issuer's answer cannot be used."""


@dataclass(frozen=True)
class IssuerKey:
    """A public key that signs tokens.

    Attributes:
        key_id: None if the issuer gives it none.
        algorithm: the only one that it is used with.
        members: the public members of the key as it was fetched.
    """

    key_id: str | None
    algorithm: str
    members: tuple[str, ...]
    key: jwt.PyJWK


class IssuerKeys:
    """The issuer's keys as they were last fetched.

    Args:
        issuer: its URL.
        jwks_url: the URL of its keys; None to find it in the issuer's discovery document.
        clock: seconds that never go back.
    """

    def __init__(self, issuer: str, jwks_url: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.issuer = issuer
        self.jwks_url = jwks_url
        self._clock = clock
        self._pool = ThreadPoolExecutor(1, "issuer-keys")
        self._fetch: Future[None] | None = None
        self._begun_at = float("-inf")
        self._fetched_at = float("-inf")
        self._keys: tuple[IssuerKey, ...] | None = None

    def prefetch(self) -> None:
        """Begin to fetch the keys, so that the first request need not wait for them."""
        self._begin_fetch(FIRST_KEYS_PAUSE)

    async def find(self, algorithm: str, key_id: str | None) -> jwt.PyJWK | None:
        """The key with this id that signs with this algorithm; without an id, the only one that does.

        Raises:
            Unavailable: 503, the keys were never fetched, or not for MAX_STALE.
        """
        age = self._clock() - self._fetched_at
        if self._keys is None or age > MAX_STALE:
            await self._wait_for_fetch(FIRST_KEYS_PAUSE)
            if self._keys is None or self._clock() - self._fetched_at > MAX_STALE:
                raise Unavailable(503, "the issuer that signs users in does not answer; try again later")
        elif age > MAX_AGE:
            self._begin_fetch(UNKNOWN_KEY_PAUSE)
        found = self._match(algorithm, key_id)
        if found is None and key_id is not None:
            await self._wait_for_fetch(UNKNOWN_KEY_PAUSE)
            found = self._match(algorithm, key_id)
        return found

    def _match(self, algorithm: str, key_id: str | None) -> jwt.PyJWK | None:
        fitting = [each for each in self._keys or () if each.algorithm == algorithm]
        if key_id is None:
            return fitting[0].key if len(fitting) == 1 else None
        return next((each.key for each in fitting if each.key_id == key_id), None)

    def _begin_fetch(self, pause: float) -> None:
        """Begin to fetch the keys, unless that is under way or was begun within `pause` seconds."""
        under_way = self._fetch is not None and not self._fetch.done()
        if not under_way and self._clock() - self._begun_at >= pause:
            self._begun_at = self._clock()
            self._fetch = self._pool.submit(self._refresh)

    async def _wait_for_fetch(self, pause: float) -> None:
        self._begin_fetch(pause)
        if self._fetch is not None and not self._fetch.done():
            try:
                async with asyncio.timeout(PATIENCE):
                    await asyncio.shield(asyncio.wrap_future(self._fetch))
            except TimeoutError:
                return

    def _refresh(self) -> None:
        try:
            keys = self._with_known(usable_keys(fetch_jwks(self.issuer, self.jwks_url)))
        except Exception as error:  # noqa: BLE001 - whatever the issuer sends, the keys known go on
            log.warning("the keys of %s could not be fetched: %s", self.issuer, shown(str(error)))
            return
        self._keys, self._fetched_at = keys, self._clock()

    def _with_known(self, keys: tuple[IssuerKey, ...]) -> tuple[IssuerKey, ...]:
        """The keys, of which those that are known already are the same objects as before."""
        known = {(each.key_id, each.algorithm, each.members): each for each in self._keys or ()}
        return tuple(known.get((each.key_id, each.algorithm, each.members), each) for each in keys)


def fetch_jwks(issuer: str, jwks_url: str | None) -> bytes:
    """The issuer's key set as JSON, for a thread without an event loop.

    Raises:
        FetchError, httpx.HTTPError, ValueError: it cannot be had.
    """
    return asyncio.run(_fetch_jwks(issuer, jwks_url))


async def _fetch_jwks(issuer: str, jwks_url: str | None) -> bytes:
    try:
        # httpx has no limit for a whole answer: one whose headers come byte by byte would hold the thread for good.
        async with asyncio.timeout(FETCH_TIMEOUT):
            async with httpx.AsyncClient(
                verify=_tls(), timeout=CONNECT_OR_READ_TIMEOUT, follow_redirects=False
            ) as client:
                url = jwks_url or await _discovered(client, issuer)
                data = await _get(client, url)
    except TimeoutError:
        raise FetchError(f"{issuer} takes longer than {FETCH_TIMEOUT:g} s") from None
    if data is None:
        raise FetchError(f"{url} answers 404")
    return data


@cache
def _tls() -> ssl.SSLContext:
    """Kept, since to read the certificate authorities is most of the work of a fetch."""
    return httpx.create_ssl_context()


def usable_keys(document: bytes) -> tuple[IssuerKey, ...]:
    """The public keys of a key set that sign tokens; others are left out. Raises ValueError."""
    entries = decode_object(document).get("keys")
    if not isinstance(entries, list):
        raise ValueError("it has no list of keys")
    return tuple(key for entry in entries[:MAX_KEYS] if isinstance(entry, dict) and (key := _usable(entry)))


def _usable(entry: dict[str, Any]) -> IssuerKey | None:
    operations = entry.get("key_ops", ["verify"])
    if entry.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    kind = entry.get("kty"), entry.get("crv")
    if not all(isinstance(part, str | None) for part in kind) or kind not in _KINDS:
        return None
    algorithm, names, members = _KINDS[kind]
    key_id = entry.get("kid")
    if entry.get("alg", algorithm) not in names or not isinstance(key_id, str | None):
        return None
    try:
        # Only public members: neither a private part nor an address of another key is read.
        public = {name: entry[name] for name in members}
        key = jwt.PyJWK(public, algorithm)
    except (jwt.PyJWTError, KeyError, TypeError, ValueError):
        return None
    if algorithm == "RS256" and not MIN_RSA_BITS <= key.key.key_size <= MAX_RSA_BITS:
        return None
    return IssuerKey(key_id, algorithm, tuple(public.values()), key)


async def _discovered(client: httpx.AsyncClient, issuer: str) -> str:
    """The URL of the keys by the issuer's discovery document; Supabase's place for them if there is no document."""
    base = issuer.rstrip("/")
    data = await _get(client, f"{base}/.well-known/openid-configuration")
    if data is None:
        return f"{base}/.well-known/jwks.json"
    document = decode_object(data)
    if document.get("issuer") != issuer:
        raise FetchError("its discovery document names another issuer; AUTH_ISSUER must be what it names")
    url = document.get("jwks_uri")
    if not isinstance(url, str) or not is_https_or_loopback(url) or not same_origin(url, issuer):
        raise FetchError("its keys are on another host; set AUTH_JWKS_URL if that is meant")
    return url


async def _get(client: httpx.AsyncClient, url: str) -> bytes | None:
    """The body of the answer, None for a 404. A redirect is an error, since it may lead to another host."""
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    async with client.stream("GET", url, headers=headers) as response:
        if response.status_code == 404:
            return None
        if response.status_code != 200:
            raise FetchError(f"{url} answers {response.status_code}")
        data = bytearray()
        # The bytes as they came: a small compressed answer could be huge.
        async for chunk in response.aiter_raw():
            data += chunk
            if len(data) > MAX_BYTES:
                raise FetchError(f"{url} answers more than {MAX_BYTES >> 10} KiB")
    return bytes(data)
