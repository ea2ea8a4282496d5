"""The backends."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contract.base import Answer
from contract.tasks import Task

LoadingStage = Literal["downloading", "checking", "loading"]


class BackendLoading(Answer):
    """The stage in which a model is being loaded, and its bytes and seconds where they are known."""

    stage: LoadingStage
    bytes: int | None = None
    total_bytes: int | None = None
    seconds_left: float | None = None


class TrainingDefaults(Answer):
    """What a training takes if its request does not say.

    It has `steps_per_second` steps for each second of music that it trains on, at least `min_steps` and at most
    `max_steps`. `seconds_per_step`, and `seconds_besides` to prepare and evaluate, are medians of this service's newest
    jobs; null until there are some.
    """

    steps_per_second: float
    min_steps: int
    max_steps: int
    seconds_per_step: float | None = None
    seconds_besides: float | None = None


class BackendAnswer(Answer):
    """A row of `GET /backends`.

    `tasks` are those that the checkpoint can do, `takes_reference` says whether tracks may follow a `reference`, and
    `streams` whether they can be heard while they are made (`stream`); these are known when it is ready. `under_way`
    counts the tracks of this front that are generated or wait. `training` is null if the number of steps does not
    follow from the length of the music.
    """

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
    tasks: list[Task] = Field(default_factory=list)
    takes_reference: bool = False
    streams: bool = False
    default: bool
    under_way: int
    training: TrainingDefaults | None = None


class BackendsAnswer(Answer):
    """`GET /backends`."""

    backends: list[BackendAnswer]
