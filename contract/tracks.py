"""The library of tracks: the record of a track, the page of a list, and what can be changed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from contract.base import Answer, Request
from contract.delivery import OutputFormat
from contract.takes import Figures
from contract.tasks import Task

MAX_TITLE = 200


class TrackTwin(Answer):
    """A twin of a track: the version that played, and its strength."""

    lora_id: str
    version: str
    strength: float


class TrackAnswer(Answer):
    """`GET /tracks/{track_id}`: a track with all that made it.

    `options` has the fields of `POST /generate` that the request sent besides its prompt, and the seed. `bpm` and `key`
    are those that the model was asked for. `parent` is the track that was edited, `source` the path or the digest of
    any recording that was. `producer_id` is the producer whose twin or recording it comes from. `takes` are the ids of
    all takes of its request, the best first, if there are several. `figures` is what is heard in it, where its request
    had it measured.
    """

    track_id: str
    title: str | None = None
    liked: bool = False
    created_at: datetime
    output_path: str
    output_format: OutputFormat
    sample_rate: int
    duration_seconds: float
    prompt: str
    options: dict[str, Any]
    seed: int
    backend: str
    checkpoint: str
    twins: list[TrackTwin] = Field(default_factory=list)
    producer_id: str | None = None
    bpm: int | None = None
    key: str | None = None
    task: Task = "text"
    parent: str | None = None
    source: str | None = None
    reference: str | None = None
    takes: list[str] = Field(default_factory=list)
    figures: Figures | None = None


class TracksAnswer(Answer):
    """`GET /tracks`: a page, the newest first. `next_cursor` is for the page after it; null at the end.

    With a filter a page may have fewer tracks than `limit`, or none, before the end.
    """

    tracks: list[TrackAnswer]
    next_cursor: str | None


class PeaksAnswer(Answer):
    """`GET /tracks/{track_id}/peaks`: the loudest sample of each of equally long parts, 0 to 1, over all channels."""

    track_id: str
    duration_seconds: float
    peaks: list[float]


class TrackDeletedAnswer(Answer):
    """`DELETE /tracks/{track_id}`: the paths that were deleted."""

    track_id: str
    deleted: list[str]


def _one_line(title: str) -> str:
    if title and not title.isprintable():
        raise ValueError("title: send one line of printable characters, or an empty text for no title")
    return title.strip()


class TrackChanges(Request):
    """`PATCH /tracks/{track_id}`. Fields that are left out stay as they are; an empty title removes it."""

    title: Annotated[str, StringConstraints(max_length=MAX_TITLE), AfterValidator(_one_line)] | None = None
    liked: bool | None = None
