"""Ids, and the base classes of requests and answers."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AliasChoices, AliasGenerator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from core import plain_json

ID_PATTERN = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"
_ID = re.compile(ID_PATTERN)
VERSION_PATTERN = r"^[0-9a-f]{16}$"
_VERSION = re.compile(VERSION_PATTERN)

MAX_SUBJECT = 255
MAX_WEBHOOK_URL = 2_048

# The pattern in words, for messages.
ID_RULE = "1 to 64 of A-Z a-z 0-9 . _ -, not starting with a dot"

Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
# A twin in its current version, or in the version after the @.
LoraId = Annotated[str, StringConstraints(pattern=ID_PATTERN[:-1] + ":" + ID_PATTERN[1:-1] + "(@[0-9a-f]{16})?$")]
Version = Annotated[str, StringConstraints(pattern=VERSION_PATTERN)]


def is_id(text: str) -> bool:
    """Whether `text` has the form of a producer, model or job id."""
    return bool(_ID.fullmatch(text))  # with `match`, `$` would accept a final newline


def is_version(text: str) -> bool:
    """Whether `text` has the form of a twin's version."""
    return bool(_VERSION.fullmatch(text))


def is_subject(text: str) -> bool:
    """Whether `text` has the form of a user's id at an issuer (`sub` of OpenID Connect Core 1.0, section 2)."""
    return 0 < len(text) <= MAX_SUBJECT and text.isascii() and text.isprintable() and bool(text.strip())


def _both_spellings(name: str) -> AliasChoices:
    return AliasChoices(name, to_camel(name))


class Request(BaseModel):
    """Base class of requests."""

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


class WebhookFields(Request):
    """The field of requests whose work goes on after their answer."""

    webhook_url: str | None = Field(None, max_length=MAX_WEBHOOK_URL)


class Answer(BaseModel):
    """Base class of answers. Every field is always present."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=True, allow_inf_nan=False)


class ErrorAnswer(Answer):
    """The body of every error: one sentence that names the field and the remedy."""

    error: str
