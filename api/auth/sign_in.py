"""Users who sign in: the principal of a token, and which producers are the user's."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Any

from api.auth.tokens import Claims, InvalidToken, TokenVerifier, claim_of
from api.capacity.thread_pools import to_record_thread
from contract import is_id
from core.errors import Refusal
from core.principal import Principal
from core.recent import Recent
from core.settings import Settings
from storage import Storage, Unavailable
from storage.producers import Owner, Producers

# In seconds. Requests that read may use producers this old; requests that write read them from storage.
MAX_AGE = 3.0
# If storage takes longer than this, the producers that were last read count for requests that read.
PATIENCE = 2.0
# If it takes longer than this, requests that write are refused.
WRITE_PATIENCE = 10.0
MAX_USERS = 10_000  # whose producers are remembered
MAX_PRODUCERS = 1_000  # of a claim
_SCOPES = frozenset({"generate", "train"})


class SignIn:
    """Makes principals of tokens.

    Attributes:
        owned: the producers that users have claimed.
    """

    def __init__(self, storage: Storage, settings: Settings, verifier: TokenVerifier | None = None) -> None:
        assert settings.auth_issuer
        self.settings = settings
        self.issuer = settings.auth_issuer
        self.verifier = verifier or TokenVerifier.of(settings)
        self.owned = OwnedProducers(Producers(storage))

    async def principal(self, token: str, links: frozenset[str]) -> Principal:
        """The principal of a token, without the producers that the user has claimed.

        Args:
            token: as the client sent it.
            links: the secrets of twin links that came with it.

        Raises:
            Refusal: 401, the token is not valid; 503, it cannot be verified now.
        """
        try:
            claims = await self.verifier.verify(token)
        except InvalidToken as reason:
            raise Refusal(401, f"authorization: this token is refused: {reason}") from None
        owner = self.owner(claims["sub"])
        is_admin = self._is_admin(claims)
        named = claim_of(claims, self.settings.auth_producers_claim)
        return Principal(
            f"user {owner.subject}",
            _SCOPES | {"admin"} if is_admin else _SCOPES,
            None if is_admin else _ids(named),
            self.settings.key_requests_per_minute,
            self.settings.key_jobs_at_once,
            subject=owner.subject,
            may_claim=is_admin or named is None,
            tracks=f"user-{owner.digest}",
            links=links,
        )

    async def with_owned_producers(self, principal: Principal, fresh: bool) -> Principal:
        """The principal with the producers that the user has claimed, unless the token itself says whose they are.

        Args:
            fresh: they must be as they are in storage now.

        Raises:
            Unavailable: 503, they cannot be read, and must be fresh or never were.
        """
        if principal.subject is None or principal.producers is None or not principal.may_claim:
            return principal
        return replace(principal, producers=await self.owned.of(self.owner(principal.subject), fresh))

    def owner(self, subject: str) -> Owner:
        return Owner(self.issuer, subject)

    def _is_admin(self, claims: Claims) -> bool:
        role = claim_of(claims, self.settings.auth_role_claim)
        return role == "admin" or (isinstance(role, list) and "admin" in role)


@dataclass(frozen=True)
class _Known:
    producers: frozenset[str]
    read_at: float


class OwnedProducers:
    """The producers that each user has claimed, as they were last read."""

    def __init__(self, producers: Producers) -> None:
        self._producers = producers
        self._known = Recent[str, _Known](MAX_USERS)
        # Of each owner, the read under way, and the one after it.
        self._reads: dict[str, list[asyncio.Task[frozenset[str]]]] = {}

    async def of(self, owner: Owner, fresh: bool) -> frozenset[str]:
        """The owner's producers. While storage is unavailable, those last read count, unless they must be fresh.

        Raises:
            Unavailable: they cannot be read, and were never read or must be fresh.
        """
        known = self._known.get(owner.digest)
        if known and not fresh and time.monotonic() - known.read_at <= MAX_AGE:
            return known.producers
        try:
            async with asyncio.timeout(WRITE_PATIENCE if fresh else PATIENCE):
                return await asyncio.shield(self._read_once(owner, fresh))
        except (TimeoutError, Unavailable):
            if known is None or fresh:
                raise Unavailable(503, "the storage of the producers does not answer; try again later") from None
            return known.producers

    def forget(self, owner: Owner) -> None:
        """Read the owner's producers again at their next request."""
        self._known.pop(owner.digest, None)

    def _read_once(self, owner: Owner, fresh: bool) -> asyncio.Task[frozenset[str]]:
        """The read under way that another request of the owner began, if there is one.

        It may miss a change that was made since. Requests that must be fresh share the read after it, so that the many
        of one user take no more than one thread.
        """
        reads = self._reads.setdefault(owner.digest, [])
        if not reads or (fresh and len(reads) == 1):
            task = asyncio.ensure_future(self._read(owner, reads[-1] if reads else None))
            reads.append(task)
            task.add_done_callback(lambda done: self._forget_read(owner.digest, done))
        return reads[-1] if fresh else reads[0]

    async def _read(self, owner: Owner, after: asyncio.Task[frozenset[str]] | None) -> frozenset[str]:
        if after:
            await asyncio.wait([after])
        read_at = time.monotonic()
        found = await to_record_thread(self._producers.of_owner, owner)
        self._known[owner.digest] = _Known(found, read_at)
        return found

    def _forget_read(self, digest: str, done: asyncio.Task[frozenset[str]]) -> None:
        reads = self._reads[digest]
        reads.remove(done)
        if not reads:
            del self._reads[digest]
        if not done.cancelled():
            done.exception()  # it was raised to the requests that waited, if any still does


def _ids(value: Any) -> frozenset[str]:
    """The ids in a claim. Anything but a list holds none: a text must not count as a list of its letters."""
    if not isinstance(value, list):
        return frozenset()
    return frozenset(each for each in value[:MAX_PRODUCERS] if isinstance(each, str) and is_id(each))
