"""Training jobs as clients see them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from contract.base import Answer
from contract.training import TrainAnswer

State = Literal["queued", "preparing", "tagging", "training", "evaluating", "done", "failed", "cancelled"]
Stage = Literal["fetching", "analysing", "cutting", "listening", "tagging", "encoding"]
STATES = get_args(State)
TERMINAL: frozenset[str] = frozenset({"done", "failed", "cancelled"})


class Preview(Answer):
    step: int
    url: str


class Progress(Answer):
    """How much of a stage of `preparing` or `tagging` is done: `done` of `total` songs or segments.

    A job fetches its songs, analyses them, cuts them, listens to them, has Gemini tag their segments if it is to, and
    encodes the segments for the model.
    """

    stage: Stage
    done: int
    total: int
    unit: Literal["songs", "segments"]


class JobAnswer(Answer):
    """`GET /jobs/{job_id}`: always with these fields, `null` if not known yet.

    `seconds_left` is until the last step while the job trains, and until the end of the stage while it has `progress`.
    `best_step` is the step at which the held-out loss was lowest so far, whose version is kept; null without held-out
    songs, and with `keep: "last"`. `stopped_early` says why the training ended before its last step.
    """

    job_id: str
    task_id: str | None = None
    producer_id: str
    model_name: str
    backend: str
    state: State
    step: int | None = None
    total_steps: int | None = None
    loss: float | None = None
    held_out_loss: float | None = None
    steps_per_second: float | None = None
    seconds_left: float | None = None
    queue_position: int | None = None
    created_at: datetime
    updated_at: datetime
    error: str | None = None
    result: TrainAnswer | None = None
    previews: list[Preview] = Field(default_factory=list)
    progress: Progress | None = None
    best_step: int | None = None
    stopped_early: str | None = None


class JobDeletedAnswer(Answer):
    """`DELETE /jobs/{job_id}`: the paths that were deleted."""

    job_id: str
    deleted: list[str]


class JobsAnswer(Answer):
    """`GET /jobs`."""

    jobs: list[JobAnswer]


VerdictWord = Literal["learned", "weak", "lost", "overfitted", "too little data"]


class VerdictAnswer(BaseModel):
    """Whether a twin learned: a word, the sentence that explains it with figures, and advice."""

    model_config = ConfigDict(extra="allow")

    verdict: VerdictWord
    sentence: str
    advice: str


class ReportAnswer(BaseModel):
    """`GET /jobs/{job_id}/report.json`: the report as it is stored, which has further fields."""

    model_config = ConfigDict(extra="allow")

    job_id: str
    complete: bool
    verdict: VerdictAnswer | None
    unmeasured: list[str]


class RetrainAnswer(Answer):
    job_id: str
    lora_id: str
    state: State
