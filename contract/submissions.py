"""Submitting a track: the request, and the track while it is made."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

from pydantic import model_validator

from contract.base import Answer, WebhookFields
from contract.generation import GenerateForm, GenerateRequest
from contract.tracks import TrackAnswer

SubmittedState = Literal["queued", "making", "finishing", "done", "failed", "cancelled"]
# The states after which nothing changes.
ENDED: frozenset[str] = frozenset({"done", "failed", "cancelled"})


class SubmitRequest(GenerateRequest, WebhookFields):
    """`POST /generate/submit`: a track that is made after the answer. The fields are those of `POST /generate`.

    With `stream` it can be heard at `GET /tracks/{track_id}/stream` while it is made.
    """

    @model_validator(mode="after")
    def _is_not_in_the_answer(self) -> Self:
        if self.response == "base64" and "response" in self.model_fields_set:
            raise ValueError("response: the track is not in the answer; leave it out, and fetch its output_path")
        return self


class SubmitForm(GenerateForm, SubmitRequest):
    """`POST /generate/form/submit`: the fields of `POST /generate/submit` as texts, as in `POST /generate/form`."""


class SubmittedTrackAnswer(Answer):
    """A submitted track while it is made; `null` is unknown.

    `queued` before the model has begun with it, `making` while it generates, `finishing` while the file is made and
    stored. `ahead`, `progress` and `seconds_left` are as in `GET /queue/{request_id}`. `audible` says whether it can be
    heard already, at `GET /tracks/{track_id}/stream`. `error` says why it `failed`. `track` is the record of the track
    once it is `done`, of several takes the first one's.
    """

    track_id: str
    state: SubmittedState
    created_at: datetime
    ahead: int | None = None
    progress: float | None = None
    seconds_left: float | None = None
    audible: bool = False
    error: str | None = None
    track: TrackAnswer | None = None
