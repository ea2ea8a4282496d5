"""The storage of a producer."""

from __future__ import annotations

from contract.base import Answer


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
