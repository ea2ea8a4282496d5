"""A producer: their objects and bytes in storage, their record (owner, visibility of twins), and their twins' usage."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from contract.base import Answer, Id, Request, is_subject

MAX_DISPLAY_NAME = 100
MAX_TWIN_SETTINGS = 1_000

# Who may generate with a twin besides its owner: nobody; those who send its link; everybody.
Visibility = Literal["private", "link", "public"]


class ProducerAnswer(Answer):
    """`GET /producers/{id}`: bytes stored, in all and by kind, and the limit, `null` if there is none."""

    producer_id: str
    bytes: int
    limit: int | None
    objects: int
    by: dict[str, int]


class ProducerDeletedAnswer(Answer):
    """`DELETE /producers/{id}`: the paths that were deleted, and their size in bytes."""

    producer_id: str
    deleted: list[str]
    bytes: int


def _readable(name: str) -> str:
    if not name.isprintable() or not name.strip():
        raise ValueError("display_name: send one to 100 printable characters")
    return name.strip()


def _subject(owner: str) -> str:
    if not is_subject(owner):
        raise ValueError("owner: name the user as the claim sub of their tokens does")
    return owner


class ProducerRequest(Request):
    """`PUT /producers/{id}`. Fields and twins that are left out stay as they are.

    `owner` is for administrators, who name any user by it. Without it, an id that a user claims belongs to the user;
    one that an administrator or an API key claims has no owner.
    """

    owner: Annotated[str, AfterValidator(_subject)] | None = None

    display_name: Annotated[str, StringConstraints(max_length=MAX_DISPLAY_NAME), AfterValidator(_readable)] | None = (
        None
    )
    twins: dict[Id, Visibility] = Field(default_factory=dict, max_length=MAX_TWIN_SETTINGS)


class TwinVisibility(Answer):
    """Who may generate with a twin. `link` is its secret, for `x-twin-link`; null unless `visibility` is `link`."""

    visibility: Visibility
    link: str | None = None


class ProducerRecordAnswer(Answer):
    """`PUT /producers/{id}`: `owner` is the user's id at the issuer, null if no user owns it. A twin that is not in
    `twins` is private."""

    producer_id: str
    owner: str | None
    display_name: str | None
    twins: dict[str, TwinVisibility]
    created_at: datetime | None


class ProducersAnswer(Answer):
    """`GET /producers`."""

    producers: list[ProducerRecordAnswer]


class TwinUsage(Answer):
    """A row of `GET /producers/{id}/usage`: the tracks made with a twin in a month (UTC), and their seconds."""

    month: str
    lora_id: str
    tracks: int
    seconds: float


class UsageAnswer(Answer):
    """`GET /producers/{id}/usage`, the newest month first."""

    producer_id: str
    usage: list[TwinUsage]
