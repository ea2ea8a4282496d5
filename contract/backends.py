"""The backends."""

from __future__ import annotations

from contract.base import Answer


class BackendAnswer(Answer):
    """A row of `GET /backends`. `under_way` counts the tracks of this front that are generated or wait."""

    name: str
    ready: bool
    reason: str | None = None
    checkpoint: str
    licence: str
    commercial_use: bool
    sample_rate: int | None = None
    channels: int | None = None
    max_duration_seconds: float
    default: bool
    under_way: int


class BackendsAnswer(Answer):
    """`GET /backends`."""

    backends: list[BackendAnswer]
