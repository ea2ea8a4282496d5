"""Generating a track: the request, the answer, and the position in the queue."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from contract.base import Answer, LoraId, Request
from contract.delivery import DeliveryFields
from contract.editing import EditingFields
from contract.sampling import SamplingOptions
from contract.takes import Figures, TakesFields
from core.notation import KEY, MAX_BPM, MIN_BPM, TEMPO, TIME_SIGNATURE, Notation, Unreadable, quoted, whole

MAX_PROMPT = 2_000
MAX_LYRICS = 8_000
MAX_AUDIO_BASE64 = 48 * 2**20
MAX_BLEND = 8
MAX_SCALE = 2.0


class BlendPart(Request):
    """A twin in a blend. Weights are relative: only their ratios matter."""

    lora_id: LoraId
    weight: float = Field(1.0, ge=-1, le=1)


class LoraScales(Request):
    """Factors on `lora_scale`: of the twins' attention layers, and of all their other layers."""

    attention: float = Field(1.0, ge=0, le=MAX_SCALE)
    mlp: float = Field(1.0, ge=0, le=MAX_SCALE)


def _written_as(field: str, notation: Notation[Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        try:
            return notation.read(value)
        except Unreadable as reason:
            raise ValueError(f"{field}: {reason} can be read from {quoted(value)}; {notation.remedy}") from None

    return read


def _whole_tempo(value: Any) -> int | None:
    bpm = _written_as("bpm", TEMPO)(value)
    return None if bpm is None else whole(bpm)


# The notations that clients may send, for the JSON schema. A validator reads each of them to the field's own type.
_SentTempo = Annotated[float, Field(ge=MIN_BPM, le=MAX_BPM)] | Literal[0] | Annotated[str, Field(examples=["92 bpm"])]
_SentKey = Annotated[str, Field(examples=["A minor", "F#m", "Bb major", "8A"])]
_SentTimeSignature = Literal["2", "3", "4", "6", 2, 3, 4, 6] | Annotated[str, Field(examples=["4/4", "6/8"])]
_Tempo = Annotated[int | None, BeforeValidator(_whole_tempo, json_schema_input_type=_SentTempo | None)]
_Key = Annotated[str | None, BeforeValidator(_written_as("key", KEY), json_schema_input_type=_SentKey | None)]
_TimeSignature = Annotated[
    Literal["2", "3", "4", "6"] | None,
    BeforeValidator(_written_as("time_signature", TIME_SIGNATURE), json_schema_input_type=_SentTimeSignature | None),
]


class GenerateRequest(EditingFields, DeliveryFields, TakesFields, SamplingOptions):
    """`POST /generate`: a track from a prompt, in the style of a twin (`lora_id`) or between several (`loras`).

    With a `task` other than `text` it starts from a `source` recording.
    """

    prompt: str = Field(min_length=1, max_length=MAX_PROMPT)
    lora_id: LoraId | None = None
    loras: list[BlendPart] | None = Field(None, min_length=1, max_length=MAX_BLEND)
    duration_seconds: float = Field(60.0, gt=0)
    backend_override: str | None = None
    lora_scale: float | None = Field(None, ge=0, le=MAX_SCALE)
    lora_scales: LoraScales | None = None
    lyrics: str = Field("", max_length=MAX_LYRICS)
    bpm: _Tempo = None
    key: _Key = None
    time_signature: _TimeSignature = None
    response: Literal["base64", "url"] = "base64"

    @model_validator(mode="after")
    def _prompt_is_not_blank(self) -> Self:
        if not self.prompt.strip():
            raise ValueError("prompt: it is blank; describe the music")
        return self

    @model_validator(mode="after")
    def _twins_are_named_once(self) -> Self:
        if self.lora_id and self.loras:
            raise ValueError("lora_id, loras: send one of the two, not both")
        names = [part.lora_id for part in self.loras or ()]
        if len(set(names)) < len(names):
            raise ValueError("loras: a twin is in it twice; add its weights up")
        if self.loras and not any(part.weight for part in self.loras):
            raise ValueError("loras: all weights are 0; leave loras out for the base model")
        if self.lora_scales and not names and not self.lora_id:
            raise ValueError("lora_scales: there is no twin to scale; send a lora_id or loras")
        return self

    @model_validator(mode="after")
    def _takes_have_a_goal(self) -> Self:
        if self.key is None and (self.rank == "key" or (self.accept and self.accept.key)):
            raise ValueError("key: send the key that rank or accept compares with")
        if self.rank == "twin" and not (self.lora_id or self.loras):
            raise ValueError("rank: twin needs a lora_id or loras")
        return self

    @property
    def strengths(self) -> dict[str, float]:
        """The strength of each twin by its id; their absolute values add up to `lora_scale`.

        Without `lora_scale` they add up to 1, and each is relative to its twin's own recommended scale.
        """
        scale = 1.0 if self.lora_scale is None else self.lora_scale
        if self.lora_id:
            return {self.lora_id: scale}
        total = sum(abs(part.weight) for part in self.loras or ())
        return {part.lora_id: scale * part.weight / total for part in self.loras or ()}


class GenerateForm(GenerateRequest):
    """`POST /generate/form`: the same fields as texts.

    `accept` and `lora_scales` are JSON; `loras` and `tracks` are JSON, or names between commas.
    """

    @model_validator(mode="before")
    @classmethod
    def _lists_are_texts(cls, fields: Any) -> Any:
        return {name: _listed(name, value) for name, value in fields.items()} if isinstance(fields, dict) else fields


def _listed(name: str, value: Any) -> Any:
    if name not in ("accept", "lora_scales", "loras", "tracks") or not isinstance(value, str):
        return value
    if name in ("loras", "tracks") and not value.lstrip().startswith("["):
        names = [part.strip() for part in value.split(",")]
        return names if name == "tracks" else [{"lora_id": twin} for twin in names]
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError(f"{name}: it is not valid JSON") from None


class _TrackAnswer(Answer):
    """A track that was made. A track that is not measured lacks `figures`, `draws` and `accepted`.

    Attributes:
        lora_scale: the strength that the twins had together; null without a twin.
        figures: what is heard.
        draws: the number of takes that were drawn.
        accepted: whether the track meets the conditions of `accept`; null without it.
    """

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    backend: str
    seed: int
    sample_rate: int
    duration_seconds: float
    output_path: str
    lora_scale: float | None = None
    figures: Figures | None = None
    draws: int | None = None
    accepted: bool | None = None


class GenerateAnswer(_TrackAnswer):
    """The track itself. `figures`, `draws` and `accepted` are there where it is measured.

    `lora_scale` is the strength that the twins had together; null without a twin.
    """

    audio_base64: str


class GenerateLinkAnswer(_TrackAnswer):
    """With `response: "url"`: a URL from which a player or a browser can fetch the track."""

    url: str


class QueueAnswer(Answer):
    """`GET /queue/{request_id}`: the position of a track that is not done yet; `null` is unknown.

    `state`: `preparing` before it is in a model's queue, `waiting` in the queue, `making` while the model generates
    it, `finishing` afterwards, `unknown` if the process that has it cannot be asked, such as another replica's. `ahead`
    counts the tracks that take a step before this one takes its next. `progress` is the share of its steps that are
    done. `seconds_left` is an estimate without later requests, of which shorter tracks go first.
    """

    request_id: str
    backend: str | None = None
    state: Literal["preparing", "waiting", "making", "finishing", "unknown"]
    ahead: int | None = None
    progress: float | None = None
    seconds_left: float | None = None
