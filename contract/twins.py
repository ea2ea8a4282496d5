"""Twins and their versions."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from contract.base import Answer, Id, Request, Version


class LoraAnswer(Answer):
    """A row of `GET /loras`. `reason` says why the twin is not usable, or that it is partial.

    `bpm` is the tempo of tracks whose request states none; null if the twin has no such default. `recommended_scale` is
    the `lora_scale` of tracks whose request states none: the best on held-out songs, or less where
    the twin loses rhythm or harmony; 1 if that was not measured.
    """

    lora_id: str
    producer_id: str
    model_name: str
    backend: str
    version: str
    rank: int
    base: str
    bpm: int | None = None
    recommended_scale: float = 1.0
    usable: bool
    reason: str | None = None
    created_at: datetime
    bytes: int
    sha256: str


class LorasAnswer(Answer):
    """`GET /loras`."""

    loras: list[LoraAnswer]


class DeletedAnswer(Answer):
    """`DELETE /loras/{id}`."""

    lora_id: str
    deleted: Literal[True]


class VersionAnswer(LoraAnswer):
    """A row of `GET /loras/{id}/versions`: `current` marks the version that the id refers to.

    `partial` is `step/steps` if the training was cancelled at that step, and null if it was completed.
    """

    job_id: str
    current: bool
    partial: str | None = None


class VersionsAnswer(Answer):
    """`GET /loras/{id}/versions`."""

    lora_id: str
    versions: list[VersionAnswer]


class RollbackRequest(Request):
    version: Version


class ImportFields(Request):
    """`POST /loras/import`: the fields of the form besides `file`."""

    producer_id: Id
    model_name: Id
    backend: str | None = None


class ImportAnswer(LoraAnswer):
    """`notes` say what had to be assumed, and how much the adapter changes the model."""

    notes: list[str]
