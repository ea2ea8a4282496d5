"""The backends."""

from __future__ import annotations

from typing import Literal

from contract.base import Answer

LoadingStage = Literal["downloading", "checking", "loading"]


class BackendLoading(Answer):
    """The stage in which a model is being loaded, and its bytes and seconds where they are known."""

    stage: LoadingStage
    bytes: int | None = None
    total_bytes: int | None = None
    seconds_left: float | None = None


class BackendAnswer(Answer):
    """A row of `GET /backends`. `under_way` counts the tracks of this front that are generated or wait."""

    name: str
    ready: bool
    reason: str | None = None
    loading: BackendLoading | None = None
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
