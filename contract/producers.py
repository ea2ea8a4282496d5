"""What a producer has stored."""

from __future__ import annotations

from contract.base import Answer


class ProducerAnswer(Answer):
    """`GET /producers/{id}`: bytes stored, by kind, and the limit, `null` where there is none."""

    producer_id: str
    bytes: int
    limit: int | None
    objects: int
    by: dict[str, int]


class ProducerDeletedAnswer(Answer):
    """`DELETE /producers/{id}`: the paths that went, and their bytes."""

    producer_id: str
    deleted: list[str]
    bytes: int
