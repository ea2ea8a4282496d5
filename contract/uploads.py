"""Uploads of a producer's files."""

from __future__ import annotations

from pydantic import Field

from contract.base import Answer, Id, Request


class StoreUploadRequest(Request):
    """`POST /store-upload`: one audio file as base64."""

    producer_id: Id
    job_id: Id | None = None
    filename: str = Field("audio.wav", min_length=1, max_length=255)
    content_base64: str = Field(min_length=1)


class StoreUploadAnswer(Answer):
    """`warnings`: problems of the sound at the ends of the file, a sentence each; empty if they were not checked."""

    path: str
    producer_id: str
    job_id: str
    warnings: list[str] = Field(default_factory=list)


class UploadFields(Request):
    """`POST /uploads`: the fields of the form besides `file`."""

    producer_id: Id
    job_id: Id | None = None
    filename: str | None = Field(None, min_length=1, max_length=255)


class UploadLinkRequest(Request):
    """`POST /uploads/link`: for a file of `bytes` bytes that the client itself puts into the bucket."""

    producer_id: Id
    job_id: Id | None = None
    filename: str = Field("audio.wav", min_length=1, max_length=255)
    bytes: int = Field(gt=0)


class UploadLinkAnswer(StoreUploadAnswer):
    url: str
    method: str
    headers: dict[str, str]
    expires_in: int


class EmbeddedTags(Answer):
    """The tags inside a file; null for those that it lacks, or that cannot be read.

    `genre` may be several, separated by commas. `bpm` and `key` are what the file states, not what is heard.
    """

    title: str | None = None
    artist: str | None = None
    album: str | None = None
    genre: str | None = None
    bpm: float | None = None
    key: str | None = None


class AnalysisAnswer(Answer):
    """`GET /uploads/analysis`: one file, with the fields of a dataset's record (docs/preprocessing.md).

    `bpm` and `key` are null if the sound has none, and each confidence is from 0 to 1. `bpm_alternative` is the second
    most probable tempo, often twice or half of `bpm`; null if `bpm` is sure. `peak` is in dBFS, `loudness` in LUFS,
    `clipped` in samples, `silent` in seconds. `warnings`: problems of the sound, a sentence each. `embedded`: the tags
    inside the file.
    """

    path: str
    format: str
    sample_rate: int
    channels: int
    seconds: float
    bpm: float | None
    bpm_confidence: float | None
    bpm_alternative: float | None
    bpm_alternative_confidence: float | None
    key: str | None
    key_confidence: float | None
    peak: float | None
    loudness: float | None
    clipped: int
    silent: float
    warnings: list[str]
    embedded: EmbeddedTags
