"""What a twin was trained on, as it is stored."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class DatasetFile(BaseModel):
    """A file of a dataset's record, which holds more than this."""

    model_config = ConfigDict(extra="allow")

    source: str
    seconds: float
    metadata: dict[str, Any]
    analysis: dict[str, Any]
    segments: int


class DatasetAnswer(BaseModel):
    """`GET /datasets/{producer_id}`: the record as it was stored, which holds more than this."""

    model_config = ConfigDict(extra="allow")

    producer_id: str
    job_id: str
    rights_confirmed: bool = False
    files: list[DatasetFile]
    segments: list[dict[str, Any]]
