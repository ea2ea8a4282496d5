"""Datasets, on which twins are trained."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class DatasetFile(BaseModel):
    """A file in a dataset's record, which has further fields."""

    model_config = ConfigDict(extra="allow")

    source: str
    seconds: float
    metadata: dict[str, Any]
    analysis: dict[str, Any]
    segments: int


class DatasetAnswer(BaseModel):
    """`GET /datasets/{producer_id}`: the record as it is stored, which has further fields."""

    model_config = ConfigDict(extra="allow")

    producer_id: str
    job_id: str
    rights_confirmed: bool = False
    files: list[DatasetFile]
    segments: list[dict[str, Any]]
