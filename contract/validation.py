"""Validation errors of requests, as one sentence that names each field and the remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from contract.base import ID_RULE
from core.errors import Refusal
from core.text import shown

T = TypeVar("T", bound=BaseModel)

MAX_REPORTED_ERRORS = 10
_SENTENCES = {
    "missing": "it is missing; send it",
    "extra_forbidden": "it is not a known field; leave it out",
    "json_invalid": "the body is not valid JSON",
    "model_type": "the body must be a JSON object",
}
# The rule of a text by the last name of its field. Every other field with a pattern is an id.
_RULES = {
    "lora_id": f"producer_id:model_name, each {ID_RULE}; @version may follow",
    "vocal_language": "a language's ISO 639 code, such as en, ja or yue, or unknown",
    "version": "a version as /loras/{id}/versions lists them, 16 of 0-9 a-f",
}


def validated(model: type[T], fields: Any) -> T:
    """The fields as the model. Raises Refusal (400), naming the wrong ones."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> Refusal:
    """The refusal (400) of a request that is not valid."""
    return Refusal(400, describe_validation(error.errors(include_input=False)))


def describe_validation(details: Sequence[Mapping[str, Any]]) -> str:
    """Pydantic's list of errors as one sentence, each part naming its field."""
    sentences = list(dict.fromkeys(_describe(detail) for detail in details))
    more = len(sentences) - MAX_REPORTED_ERRORS
    return "; ".join(sentences[:MAX_REPORTED_ERRORS] + ([f"and {more} more"] if more > 0 else []))


def _describe(detail: Mapping[str, Any]) -> str:
    kind = detail["type"]
    if kind == "value_error":  # raised by our own validators, whose messages name the field
        error = detail.get("ctx", {}).get("error")
        # BentoML's list of errors has no context.
        return str(error) if error else str(detail["msg"]).removeprefix("Value error, ")
    parts = [str(part) for part in detail["loc"]]
    names = [_snake(part) for part in parts]
    # An unknown field is named as it was sent, a known one as the contract spells it.
    field = shown(".".join(parts if kind == "extra_forbidden" else names))
    if kind == "string_pattern_mismatch":
        sentence = f"it must be {_RULES.get(names[-1], ID_RULE)}"
    else:
        message = str(detail["msg"])
        sentence = _SENTENCES.get(kind, message[:1].lower() + message[1:])
    return f"{field}: {sentence}" if field else sentence


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
