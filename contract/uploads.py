"""What a producer's files come as, and what is answered about them."""

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
    """`warnings`: what is wrong with the sound at the file's ends, a sentence for each; none where nobody looked."""

    path: str
    producer_id: str
    job_id: str
    warnings: list[str] = Field(default_factory=list)


class UploadFields(Request):
    """`POST /uploads`: the fields of the form beside its `file`."""

    producer_id: Id
    job_id: Id | None = None
    filename: str | None = Field(None, min_length=1, max_length=255)


class UploadLinkRequest(Request):
    """`POST /uploads/link`: the client will put a file of so many bytes into the bucket by itself."""

    producer_id: Id
    job_id: Id | None = None
    filename: str = Field("audio.wav", min_length=1, max_length=255)
    bytes: int = Field(gt=0)


class UploadLinkAnswer(StoreUploadAnswer):
    url: str
    method: str
    headers: dict[str, str]
    expires_in: int


class AnalysisAnswer(Answer):
    """`GET /uploads/analysis`: the fields of a dataset's record (docs/preprocessing.md), for one file.

    Tempo and key are null where the sound has none, and each confidence runs from 0 to 1. `peak` is in dBFS, `loudness`
    in LUFS; `clipped` counts samples, `silent` seconds. `warnings`: what is wrong with the sound, a sentence for each.
    """

    path: str
    format: str
    sample_rate: int
    channels: int
    seconds: float
    bpm: float | None
    bpm_confidence: float | None
    key: str | None
    key_confidence: float | None
    peak: float | None
    loudness: float | None
    clipped: int
    silent: float
    warnings: list[str]
