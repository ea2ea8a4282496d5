"""The principal: the client that makes the current request, and its rights.

api.auth.access sets it for each request with `acting`; `current`, `sees` and `check_producer` read it. What belongs
to a producer that the principal may not see is treated as if it did not exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, get_args

from core.errors import Refusal
from core.logs import note
from core.text import shown

Scope = Literal["generate", "train", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True)
class Principal:
    """The client that makes a request, and its rights.

    Attributes:
        name: unique; logs and limits use it.
        scopes: the kinds of requests that it may make.
        producers: the producers it may see and change; None means all of them.
        requests_per_minute: its rate limit; None means no limit.
        jobs_at_once: the number of training jobs it may have under way; None means no limit.
        visitor: the address of the end user for whom a web app with this API key asks; limits then hold per visitor.
        subject: the user's id at the sign-in issuer (`sub`); None if it is no signed-in user.
        may_claim: it may claim producer ids that are free.
        tracks: its folder in `outputs/made/`; None without sign-in, where a track is its twin's producer's.
        links: the secrets of twin links that came with the request.
        is_anonymous: it has sent neither a key nor a token, and is not on this machine.
    """

    name: str
    scopes: frozenset[str] = frozenset(SCOPES)
    producers: frozenset[str] | None = None
    requests_per_minute: int | None = None
    jobs_at_once: int | None = None
    visitor: str | None = None
    subject: str | None = None
    may_claim: bool = False
    tracks: str | None = None
    links: frozenset[str] = frozenset()
    is_anonymous: bool = False

    def sees(self, producer: str) -> bool:
        return self.producers is None or producer in self.producers

    def hears(self, tracks: str) -> bool:
        """Whether it may fetch the tracks of this folder of `outputs/made/`."""
        return self.producers is None or tracks in (self.tracks, SHARED_TRACKS)

    @property
    def account(self) -> str:
        """A digest of its name, for keys in storage: all visitors of a key share the key's."""
        return sha256(self.name.encode()).hexdigest()[:32]

    @property
    def askers(self) -> list[str]:
        """The names under which limits count the request: the key, then its visitor."""
        return [self.name] if self.visitor is None else [self.name, f"{self.name}, visitor {self.visitor}"]


# The folder in `outputs/made/` of tracks that nobody signed in for: everybody who has a track's path may fetch it.
SHARED_TRACKS = "anonymous"
LOCAL = Principal("this machine")
NOBODY = Principal("nobody", frozenset(), frozenset())
# Outside a request, on the command line and in a job, the service acts for itself.
ITSELF = Principal("the service")
_current: ContextVar[Principal | None] = ContextVar("principal", default=None)


@contextmanager
def acting(principal: Principal) -> Iterator[None]:
    """Make `principal` the current principal inside the block."""
    token = _current.set(principal)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Principal:
    """The current principal."""
    return _current.get() or ITSELF


def sees(producer: str) -> bool:
    """Whether the current principal may see what belongs to the producer."""
    return current().sees(producer)


def check_producer(producer: str) -> None:
    """Raise Refusal (403) if the current principal may not write for the producer, whether or not it exists."""
    note(producer_id=shown(producer))
    if sees(producer):
        return
    if current().subject is not None:
        claim = "claim a free id with PUT /producers/{producer_id}"
        raise Refusal(403, f"producer_id: {shown(producer)} is not yours; {claim}")
    raise Refusal(403, f"producer_id: this API key is not for {shown(producer)}; use that producer's")
