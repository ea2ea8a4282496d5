"""The stored record of a submitted track, until the track is made."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from contract import ENDED, GenerateRequest, SubmittedState, SubmittedTrackAnswer, TrackAnswer
from core.principal import Principal
from generation.editing.recordings import RecordedField
from storage import keys, work_keys


class Submitter(BaseModel):
    """The principal that submitted a track, on whose behalf it is made. The fields are those of `Principal`."""

    name: str
    scopes: frozenset[str]
    producers: frozenset[str] | None
    visitor: str | None = None
    subject: str | None = None
    tracks: str | None = None
    links: frozenset[str] = frozenset()

    @classmethod
    def of(cls, principal: Principal) -> Submitter:
        return cls(**{name: getattr(principal, name) for name in cls.model_fields})

    def principal(self) -> Principal:
        return Principal(**{name: getattr(self, name) for name in type(self).model_fields})


class SubmissionRecord(BaseModel):
    """A submitted track.

    Attributes:
        request: the fields that were sent, and the seed.
        by: the principal that submitted it.
        state: `queued` until the track has ended.
        ended_at: when it was made, failed, or was cancelled.
        recordings: the fields whose recordings came with the request, and are stored beside it.
    """

    model_config = ConfigDict(extra="ignore")

    track_id: str
    request: dict[str, Any]
    by: Submitter
    state: SubmittedState = "queued"
    created_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    error: str | None = None
    webhook_url: str | None = None
    recordings: tuple[RecordedField, ...] = ()

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def name(self) -> str:
        """The track's name: the last part of its id."""
        return self.track_id.rpartition(":")[2]

    @property
    def stored_at(self) -> str:
        """The record's key."""
        return work_keys.submission(self.track_id)

    @property
    def mark(self) -> str:
        """The key of its mark."""
        return work_keys.open_submission(self.by.principal().account, self.track_id)

    def recording(self, field: str = "") -> str:
        """The key of the recording of a field; without one the prefix of all."""
        return work_keys.submitted_recording(self.by.principal().account, self.track_id, field)

    def generate_request(self) -> GenerateRequest:
        return GenerateRequest.model_validate(self.request)

    def answer(self, track: TrackAnswer | None = None) -> SubmittedTrackAnswer:
        return SubmittedTrackAnswer(
            track_id=self.track_id, state=self.state, created_at=self.created_at, error=self.error, track=track
        )

    def encode(self) -> bytes:
        return self.model_dump_json(indent=1).encode()

    @classmethod
    def decode(cls, data: bytes, key: str) -> SubmissionRecord:
        """Raises ValueError if the data is not the record of this key."""
        record = cls.model_validate_json(data)
        if keys.track_of(record.track_id) is None or record.stored_at != key:
            raise ValueError("it is the record of another track than its name says")
        return record
