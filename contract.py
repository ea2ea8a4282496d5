"""The HTTP contract: every request and answer as a model, the ids, and the limits.

Field names are snake_case; camelCase is taken as well. `null` means the same as leaving a field out. Unknown
fields are errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AliasChoices,
    AliasGenerator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from core import plain_json
from core.notation import KEY, MAX_BPM, MIN_BPM, TEMPO, TIME_SIGNATURE, Notation, Unreadable, quoted, whole

ID_PATTERN = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"
_ID = re.compile(ID_PATTERN)
VERSION_PATTERN = r"^[0-9a-f]{16}$"
_VERSION = re.compile(VERSION_PATTERN)

MAX_FILES = 100
MAX_PROMPT = 2_000
MAX_LYRICS = 8_000
MAX_METADATA = 16 * 2**10  # bytes of one file's, as JSON
MAX_METADATA_DEPTH = 8
MAX_AUDIO_BASE64 = 48 * 2**20
MAX_BLEND = 8

# The rule that the patterns cannot say by themselves, used in messages.
ID_RULE = "1 to 64 of A-Z a-z 0-9 . _ -, not starting with a dot"

Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
# The twin as it is now, or a version of it.
LoraId = Annotated[str, StringConstraints(pattern=ID_PATTERN[:-1] + ":" + ID_PATTERN[1:-1] + "(@[0-9a-f]{16})?$")]
Version = Annotated[str, StringConstraints(pattern=VERSION_PATTERN)]

State = Literal["queued", "preparing", "tagging", "training", "evaluating", "done", "failed", "cancelled"]
STATES = get_args(State)
TERMINAL: frozenset[str] = frozenset({"done", "failed", "cancelled"})

Profile = Literal["contract", "native"]
SegmentOn = Literal["time", "beat"]
OutputFormat = Literal["wav", "flac", "mp3", "opus"]
FORMATS = get_args(OutputFormat)


def is_id(text: str) -> bool:
    """Whether `text` may be a producer, model or job id."""
    return bool(_ID.fullmatch(text))  # `match` lets `$` pass before a last newline


def is_version(text: str) -> bool:
    """Whether `text` may be a twin's version."""
    return bool(_VERSION.fullmatch(text))


def _is_deeper(value: Any, most: int) -> bool:
    """Whether lists and dictionaries lie within each other more than so many times."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(most == 0 or _is_deeper(item, most - 1) for item in items)


def _stored_metadata(index: int, entry: dict[str, Any]) -> dict[str, Any]:
    """Raises ValueError if the metadata of one file is too large, too deep, or not JSON."""
    field = f"metadata_per_file[{index}]"
    # The depth first, since what writes JSON has a limit of its own.
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


def _both_spellings(name: str) -> AliasChoices:
    return AliasChoices(name, to_camel(name))


class Request(BaseModel):
    """Base of what clients send."""

    model_config = ConfigDict(
        alias_generator=AliasGenerator(validation_alias=_both_spellings), extra="forbid", allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, body: Any) -> Any:
        plain_json.check(body)
        if isinstance(body, dict):
            return {name: value for name, value in body.items() if value is not None}
        return body


class Answer(BaseModel):
    """Base of what the service answers: always every field."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=True, allow_inf_nan=False)


class ErrorAnswer(Answer):
    """What every refusal answers: one sentence that names the field and the mend."""

    error: str


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


class TrainRequest(Request):
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
    profile: Profile | None = None
    segment_on: SegmentOn = "time"
    rights_confirmed: bool = False

    @field_validator("metadata_per_file")
    @classmethod
    def _as_stored(cls, entries: list[dict[str, Any] | None]) -> list[dict[str, Any] | None]:
        """Each entry as the job's record will hold it, so that what is checked here is what is stored."""
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
        """One dictionary a file, the missing ones empty."""
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
    """`POST /train/submit`."""

    task_id: str
    status: Literal["in_progress"]
    job_id: str


class TaskAnswer(Answer):
    """`GET /train/status`, which is BentoML's."""

    task_id: str
    status: Literal["in_progress", "success", "failure", "cancelled"]
    created_at: str
    executed_at: str | None


class Preview(Answer):
    step: int
    url: str


class JobAnswer(Answer):
    """`GET /jobs/{job_id}`: always these keys, `null` where not known yet."""

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


class JobDeletedAnswer(Answer):
    """`DELETE /jobs/{job_id}`: the paths that went."""

    job_id: str
    deleted: list[str]


class BlendPart(Request):
    """A twin of a blend. Weights are shares: what they add up to makes nothing louder."""

    lora_id: LoraId
    weight: float = Field(1.0, ge=-1, le=1)


class JobsAnswer(Answer):
    """`GET /jobs`."""

    jobs: list[JobAnswer]


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


class ReportAnswer(BaseModel):
    """`GET /jobs/{job_id}/report.json`: the report as it was stored, which holds more than this."""

    model_config = ConfigDict(extra="allow")

    job_id: str
    complete: bool
    verdict: dict[str, str] | None
    unmeasured: list[str]


def _written_as(field: str, notation: Notation[Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        try:
            return notation.read(value)
        except Unreadable as reason:
            raise ValueError(f"{field}: {reason} can be read from {quoted(value)}; {notation.mend}") from None

    return read


def _whole_tempo(value: Any) -> int | None:
    bpm = _written_as("bpm", TEMPO)(value)
    return None if bpm is None else whole(bpm)


def _drawn_if_negative(seed: Any) -> Any:
    """-1 asks for a new seed, as in other tools."""
    return None if seed in (-1, "-1") else seed


Seed = Annotated[int, Field(ge=0, lt=2**32)]
# What each is sent as; what it is read to is the field's own type.
_SentTempo = Annotated[float, Field(ge=MIN_BPM, le=MAX_BPM)] | Literal[0] | Annotated[str, Field(examples=["92 bpm"])]
_SentKey = Annotated[str, Field(examples=["A minor", "F#m", "Bb major", "8A"])]
_SentTimeSignature = Literal["2", "3", "4", "6", 2, 3, 4, 6] | Annotated[str, Field(examples=["4/4", "6/8"])]
_Tempo = Annotated[int | None, BeforeValidator(_whole_tempo, json_schema_input_type=_SentTempo | None)]
_Key = Annotated[str | None, BeforeValidator(_written_as("key", KEY), json_schema_input_type=_SentKey | None)]
_TimeSignature = Annotated[
    Literal["2", "3", "4", "6"] | None,
    BeforeValidator(_written_as("time_signature", TIME_SIGNATURE), json_schema_input_type=_SentTimeSignature | None),
]


class GenerateRequest(Request):
    """`POST /generate`: a track from a prompt, in the style of a twin (`lora_id`) or between several (`loras`)."""

    prompt: str = Field(min_length=1, max_length=MAX_PROMPT)
    lora_id: LoraId | None = None
    loras: list[BlendPart] | None = Field(None, min_length=1, max_length=MAX_BLEND)
    duration_seconds: float = Field(60.0, gt=0)
    backend_override: str | None = None
    seed: Annotated[
        Seed | None, BeforeValidator(_drawn_if_negative, json_schema_input_type=Seed | Literal[-1] | None)
    ] = None
    lora_scale: float = Field(1.0, ge=0, le=2)
    lyrics: str = Field("", max_length=MAX_LYRICS)
    bpm: _Tempo = None
    key: _Key = None
    time_signature: _TimeSignature = None
    steps: int | None = Field(None, ge=1, le=200)
    guidance: float | None = Field(None, ge=0, le=20)
    shift: float | None = Field(None, ge=0.1, le=20)
    temperature: float | None = Field(None, ge=0, le=5)
    output_format: OutputFormat = "wav"
    response: Literal["base64", "url"] = "base64"

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.prompt.strip():
            raise ValueError("prompt: it is blank; describe the music")
        return self

    @model_validator(mode="after")
    def _one_way_to_name_twins(self) -> Self:
        if self.lora_id and self.loras:
            raise ValueError("lora_id, loras: send one of the two, not both")
        names = [part.lora_id for part in self.loras or ()]
        if len(set(names)) < len(names):
            raise ValueError("loras: a twin is in it twice; add its weights up")
        if self.loras and not any(part.weight for part in self.loras):
            raise ValueError("loras: all weights are 0; leave loras out for the base model")
        return self

    @property
    def strengths(self) -> dict[str, float]:
        """Each twin by its id, with how strongly it works: all together as strongly as `lora_scale` says."""
        if self.lora_id:
            return {self.lora_id: self.lora_scale}
        total = sum(abs(part.weight) for part in self.loras or ())
        return {part.lora_id: self.lora_scale * part.weight / total for part in self.loras or ()}


class GenerateAnswer(Answer):
    audio_base64: str
    backend: str
    seed: int
    sample_rate: int
    duration_seconds: float
    output_path: str


class GenerateLinkAnswer(Answer):
    """With `response: "url"`: where the track may be fetched, by a player or a browser."""

    url: str
    backend: str
    seed: int
    sample_rate: int
    duration_seconds: float
    output_path: str


class QueueAnswer(Answer):
    """`GET /queue/{request_id}`: where a track stands that is not there yet; `null` is what is not known.

    `state`: `preparing` before it is in a model's queue, `waiting` for its turn, `making`, `finishing` once the model
    is through with it, `unknown` where the process that has it could not be asked, such as another replica. `ahead`
    counts the tracks that take a step before this one takes its next; `progress` is the share of its steps that are
    done. `seconds_left` is what it comes to if nobody else comes: shorter tracks that do go first.
    """

    request_id: str
    backend: str | None = None
    state: Literal["preparing", "waiting", "making", "finishing", "unknown"]
    ahead: int | None = None
    progress: float | None = None
    seconds_left: float | None = None


class BackendAnswer(Answer):
    """A row of `GET /backends`. `under_way` counts the tracks that are being made or wait, by way of this front."""

    name: str
    ready: bool
    reason: str | None = None
    checkpoint: str
    licence: str
    commercial_use: bool
    sample_rate: int | None = None
    channels: int | None = None
    max_duration_seconds: float
    default: bool
    under_way: int


class BackendsAnswer(Answer):
    """`GET /backends`."""

    backends: list[BackendAnswer]


class LoraAnswer(Answer):
    """A row of `GET /loras`. `reason` says why it is not usable, or that it is partial."""

    lora_id: str
    producer_id: str
    model_name: str
    backend: str
    version: str
    rank: int
    base: str
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
    """A row of `GET /loras/{id}/versions`: `current` is what the id stands for now.

    `partial` says how far the training came that was cancelled, `step/steps`; null where it came to its end.
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
    """`POST /loras/import`: the fields of the form beside its `file`."""

    producer_id: Id
    model_name: Id
    backend: str | None = None


class ImportAnswer(LoraAnswer):
    """`notes` say what had to be taken for granted, and how much the adapter changes."""

    notes: list[str]


class RetrainRequest(Request):
    """`POST /loras/{id}/retrain`: what shall differ from the training before."""

    job_id: Id | None = None
    max_steps: int | None = Field(None, ge=1, le=100_000)
    seed: int | None = Field(None, ge=0, lt=2**32)


class RetrainAnswer(Answer):
    job_id: str
    lora_id: str
    state: State


class ProducerAnswer(Answer):
    """`GET /producers/{id}`: bytes stored, by kind, and the limit, `null` where there is none."""

    producer_id: str
    bytes: int
    limit: int | None
    objects: int
    by: dict[str, int]


class ProducerDeletedAnswer(Answer):
    """`DELETE /producers/{id}`: the paths that went, and their bytes."""

    producer_id: str
    deleted: list[str]
    bytes: int
