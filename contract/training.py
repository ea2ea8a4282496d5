"""Training a twin, and training it again."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from contract.base import Answer, Id, Request, WebhookFields
from core import plain_json
from core.settings import SegmentProfile

MAX_FILES = 100
MAX_METADATA = 16 * 2**10  # bytes of JSON for one file
MAX_METADATA_DEPTH = 8

SegmentOn = Literal["time", "beat"]
# The version of the adapter that becomes the twin: the best one on held-out songs, or that of the last step.
Keep = Literal["best", "last"]


def _is_deeper(value: Any, most: int) -> bool:
    """Whether lists and dictionaries are nested more than `most` levels deep."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(most == 0 or _is_deeper(item, most - 1) for item in items)


def _stored_metadata(index: int, entry: dict[str, Any]) -> dict[str, Any]:
    """One file's metadata as the job's record keeps it. Raises ValueError if it is too large, too deep or not JSON."""
    field = f"metadata_per_file[{index}]"
    # The depth is checked first, since the JSON encoder has a limit of its own.
    if not _is_deeper(entry, MAX_METADATA_DEPTH):
        try:
            text, stored = plain_json.canonical(entry)
        except ValueError as error:
            raise ValueError(f"{field}: {error}") from error
        if len(text) <= MAX_METADATA:
            return dict(stored)
    raise ValueError(
        f"{field}: it is over {MAX_METADATA // 2**10} KB of JSON or {MAX_METADATA_DEPTH} levels deep; "
        "send what describes the music"
    )


class TrainRequest(WebhookFields):
    """`POST /train`: make a twin from stored files or from URLs."""

    producer_id: Id
    upload_urls: list[str] | None = Field(None, min_length=1, max_length=MAX_FILES)
    upload_paths: list[str] | None = Field(None, min_length=1, max_length=MAX_FILES)
    dataset_job_id: Id | None = None
    model_name: Id = "nawfside_lora"
    metadata_per_file: list[dict[str, Any] | None] = Field(default_factory=list)
    job_id: Id | None = None
    skip_preprocess: bool = False
    tag_before_train: bool = False
    backend_override: str | None = None
    max_steps: int | None = Field(None, ge=1, le=100_000)
    rank: int | None = Field(None, ge=1, le=128)
    learning_rate: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=0, lt=2**32)
    keep: Keep = "best"
    profile: SegmentProfile | None = None
    segment_on: SegmentOn | None = None
    rights_confirmed: bool = False

    @field_validator("metadata_per_file")
    @classmethod
    def _as_stored(cls, entries: list[dict[str, Any] | None]) -> list[dict[str, Any] | None]:
        """Bring each entry into the form of the job's record, so that the checks apply to the stored form."""
        return [entry and _stored_metadata(index, entry) for index, entry in enumerate(entries)]

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.upload_urls and self.upload_paths:
            raise ValueError("upload_paths, upload_urls: send one of the two, not both")
        if self.dataset_job_id:
            if self.upload_urls or self.upload_paths or self.metadata_per_file:
                raise ValueError("dataset_job_id: its dataset is complete; leave out the files and their metadata")
            return self
        if not self.upload_urls and not self.upload_paths:
            raise ValueError("upload_paths: send the paths that /store-upload answered, or upload_urls")
        if len(self.metadata_per_file) > len(self.sources):
            raise ValueError(
                f"metadata_per_file: {len(self.metadata_per_file)} entries for {len(self.sources)} files; "
                "send at most one a file"
            )
        return self

    @property
    def sources(self) -> list[str]:
        return self.upload_paths or self.upload_urls or []

    @property
    def metadata(self) -> list[dict[str, Any]]:
        """One dictionary per file, empty for files without metadata."""
        given = [entry or {} for entry in self.metadata_per_file]
        return given + [{}] * (len(self.sources) - len(given))


class TrainAnswer(Answer):
    job_id: str
    producer_id: str
    model_name: str
    backend: str
    lora_path: str
    models_path: str


class SubmittedAnswer(Answer):
    """`POST /train/submit`.

    `total_steps` is an estimate unless the request has `max_steps`; null if the length of the music is not known yet.
    `estimated_seconds` is of the whole job without its time in the queue; null if no job was done here before.
    """

    task_id: str
    status: Literal["in_progress"]
    job_id: str
    total_steps: int | None = None
    estimated_seconds: float | None = None


class TaskAnswer(Answer):
    """`GET /train/status`, a route of BentoML."""

    task_id: str
    status: Literal["in_progress", "completed", "failed"]
    created_at: str
    executed_at: str | None


class RetrainRequest(Request):
    """`POST /loras/{id}/retrain`: the options that differ from the last training."""

    job_id: Id | None = None
    max_steps: int | None = Field(None, ge=1, le=100_000)
    seed: int | None = Field(None, ge=0, lt=2**32)
