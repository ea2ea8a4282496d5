"""The fields of ACE-Step's requests: their names and aliases, and how a field is read from JSON or from a form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import RootModel, TypeAdapter, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from core import plain_json
from core.errors import Refusal
from core.text import shown

# Names besides the snake_case and camelCase ones.
_ALIASES: dict[str, tuple[str, ...]] = {
    "prompt": ("caption",),
    "audio_duration": ("duration", "target_duration", "targetDuration"),
    "key_scale": ("keyscale", "key"),
    "time_signature": ("timesignature",),
    "sample_query": ("description", "desc"),
    "use_format": ("format",),
    "use_cot_caption": ("cot_caption", "cot-caption"),
    "use_cot_language": ("cot_language", "cot-language"),
    "constrained_decoding": ("constrained",),
    "vocal_language": ("language",),
    "model": ("model_name", "modelName", "dit_model", "ditModel"),
    "src_audio_path": ("ctx_audio_path", "ctxAudioPath", "sourceAudioPath"),
    "reference_audio_path": ("ref_audio_path", "refAudioPath"),
    "audio_cover_strength": ("cover_strength", "coverStrength"),
    "audio_code_string": ("audio_codes", "audioCodes"),
}
# Objects, or JSON texts of objects, that may have fields of the request. A field beside them goes before theirs.
_NESTED = ("metas", "metadata", "user_metadata", "param_obj")
_BOOL = TypeAdapter(bool)


class Body(RootModel[dict[str, Any]]):
    """A request: a JSON object, or the fields of a form. Unknown fields are accepted."""

    @model_validator(mode="before")
    @classmethod
    def _is_plain(cls, body: Any) -> Any:
        plain_json.check(body)
        return body


class Fields:
    """The fields of a request by their snake_case names. Those that are null or empty count as left out.

    Attributes:
        unread: the names of fields that were sent and that `get` and `flag` were not asked for.
    """

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._values: dict[str, Any] = {}
        for nested in _NESTED:
            self._values |= _present(_object(body, nested))
        self._values |= _present({name: value for name, value in body.items() if name not in _NESTED})
        self.unread = set(self._values)

    def get(self, name: str) -> Any:
        """The value of a field, or None."""
        found = None
        for spelling in _spellings(name):
            self.unread.discard(spelling)
            if found is None:
                found = self._values.get(spelling)
        return found

    def flag(self, name: str, default: bool) -> bool:
        """The value of a switch. Raises Refusal (400)."""
        value = self.get(name)
        if value is None:
            return default
        try:
            return _BOOL.validate_python(value)
        except ValidationError:
            raise Refusal(400, f"{name}: {shown(str(value))} is neither true nor false") from None

    def number(self, name: str, default: int) -> int:
        """The value of a whole number. Raises Refusal (400)."""
        value = self.get(name)
        try:
            return default if value is None else int(value)
        except (TypeError, ValueError):
            raise Refusal(400, f"{name}: {shown(str(value))} is not a whole number") from None


@cache
def _spellings(name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((name, to_camel(name), *_ALIASES.get(name, ()))))


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value != ""}


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A nested object. Raises Refusal (400)."""
    value = body.get(name) or {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
            plain_json.check(value)
        except (ValueError, RecursionError):
            raise Refusal(400, f"{name}: it is not valid JSON") from None
    if not isinstance(value, dict):
        raise Refusal(400, f"{name}: it must be an object, or the JSON of one")
    return value
