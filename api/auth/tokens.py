"""Verifies sign-in tokens: JWTs that the issuer signed (RFC 7519, RFC 8725, OpenID Connect Core 1.0)."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import jwt

from api.auth.issuer_keys import ALGORITHMS, IssuerKeys
from contract import is_subject
from core.plain_json import decode_object
from core.recent import Recent
from core.settings import Settings

MAX_TOKEN_CHARACTERS = 8192
# By this much the issuer's clock and this machine's may differ.
CLOCK_SKEW_SECONDS = 30
# Values of the header `typ`, in lower case, of tokens that give access; others are for logging out, for events, …
_TYPES = ("jwt", "at+jwt", "application/at+jwt")
_REQUIRED = ["exp", "iss", "aud", "sub"]

Claims = Mapping[str, Any]


class InvalidToken(Exception):
    """The token is refused; the message says why."""


@dataclass(frozen=True)
class _Verified:
    """A token that was found valid.

    Attributes:
        key: the key that signed it.
    """

    claims: Claims
    algorithm: str
    key_id: str | None
    key: jwt.PyJWK | str


class TokenVerifier:
    """Verifies the tokens of one issuer. A token that comes again is not computed again while it and its key are valid.

    Args:
        issuer: what the claim `iss` must be.
        audience: what the claim `aud` must be or contain.
        keys: the issuer's public keys.
        secret: of tokens that are signed with HS256; None refuses them.
        remembered: the number of valid tokens that are remembered.
    """

    def __init__(
        self, issuer: str, audience: str, keys: IssuerKeys, secret: str | None = None, remembered: int = 4096
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self.keys = keys
        self.secret = secret
        self._verified = Recent[bytes, _Verified](remembered)  # by the token's SHA-256

    @classmethod
    def of(cls, settings: Settings) -> TokenVerifier:
        assert settings.auth_issuer and settings.auth_audience
        keys = IssuerKeys(settings.auth_issuer, settings.auth_jwks_url)
        keys.prefetch()
        return cls(settings.auth_issuer, settings.auth_audience, keys, settings.auth_jwt_secret)

    async def verify(self, token: str) -> Claims:
        """The claims of a valid token.

        Raises:
            InvalidToken: it is not valid.
            Unavailable: 503, the issuer's keys are not known.
        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise InvalidToken(f"it has over {MAX_TOKEN_CHARACTERS} characters")
        digest = sha256(token.encode(errors="surrogatepass")).digest()
        known = self._verified.get(digest)
        if known and await self._is_still_valid(known):
            return known.claims
        header = _header(token)
        algorithm, key_id = str(header.get("alg")), header.get("kid")
        key = await self._key(algorithm, key_id)
        claims = self._claims(token, key, algorithm)
        _check_types(claims)
        self._verified[digest] = _Verified(claims, algorithm, key_id, key)
        return claims

    async def _is_still_valid(self, token: _Verified) -> bool:
        not_expired: bool = time.time() < token.claims["exp"] + CLOCK_SKEW_SECONDS
        return not_expired and await self._key(token.algorithm, token.key_id) is token.key

    async def _key(self, algorithm: str, key_id: str | None) -> jwt.PyJWK | str:
        """The key that verifies. Raises InvalidToken: the algorithm is not accepted, or the issuer has no such key."""
        if algorithm == "HS256" and self.secret:
            return self.secret
        if algorithm not in ALGORITHMS:
            raise InvalidToken("it is signed with an algorithm that is not accepted")
        key = await self.keys.find(algorithm, key_id)
        if key is None:
            raise InvalidToken("its issuer has no such key")
        return key

    def _claims(self, token: str, key: jwt.PyJWK | str, algorithm: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self.issuer,
                audience=self.audience,
                leeway=CLOCK_SKEW_SECONDS,
                options={"require": _REQUIRED},
            )
        except jwt.ExpiredSignatureError:
            raise InvalidToken("it has expired; sign in again") from None
        except jwt.ImmatureSignatureError:
            raise InvalidToken("it is not valid yet") from None
        except jwt.InvalidAudienceError:
            raise InvalidToken("it is for another audience") from None
        except jwt.InvalidIssuerError:
            raise InvalidToken("it is of another issuer") from None
        except jwt.MissingRequiredClaimError as error:
            raise InvalidToken(f"it lacks the claim {error.claim}") from None
        except (jwt.PyJWTError, TypeError, ValueError, OverflowError, RecursionError):
            raise InvalidToken("its signature or its form is wrong") from None


def claim_of(claims: Claims, name: str) -> Any:
    """The claim with this name, or at this path with dots; None if there is none."""
    if name in claims:  # names may be URLs
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found


def _header(token: str) -> dict[str, Any]:
    """The header, in which only `alg`, `kid` and `typ` have an effect. `jku`, `x5u`, `jwk` and `x5c` are not read.

    `jwt.get_unverified_header` would decode the whole token, as `jwt.decode` does once more.
    """
    part = token.partition(".")[0]
    try:
        header = decode_object(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        raise InvalidToken("its form is wrong") from None
    if not isinstance(header.get("kid"), str | None):
        raise InvalidToken("its form is wrong")
    if "crit" in header or "b64" in header:
        raise InvalidToken("its header asks for an extension that is not supported")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise InvalidToken("it is a token of another type")
    return header


def _check_types(claims: Claims) -> None:
    """Check what PyJWT converts or leaves alone."""
    for name in ("exp", "nbf", "iat"):
        value = claims.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidToken(f"its claim {name} is not a time")
    if not isinstance(claims["sub"], str) or not is_subject(claims["sub"]):
        raise InvalidToken("its claim sub is not a user's id")
