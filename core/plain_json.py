"""JSON that every parser reads the same: only finite numbers, and only strings that are valid Unicode."""

from __future__ import annotations

import json
import math
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from core.text import shown


def check(value: Any) -> None:
    """Raise ValueError that names the field if a number in `value` is not finite or a string is not Unicode.

    `json.loads` and pydantic both take NaN, Infinity and 1e400, which no JSON can hold.
    """
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        field, item = pending.pop()
        if isinstance(item, dict):
            for name, inner in item.items():
                if isinstance(name, str):
                    _check_text(field, name)
                pending.append((f"{field}.{name}" if field else str(name), inner))
        elif isinstance(item, list | tuple):
            pending.extend((f"{field}.{index}" if field else str(index), inner) for index, inner in enumerate(item))
        elif isinstance(item, str):
            _check_text(field, item)
        elif isinstance(item, float) and not math.isfinite(item):
            raise ValueError(f"{shown(field)}: it is not a finite number; send one, or leave the field out")


def canonical(value: Any) -> tuple[bytes, Any]:
    """The value as compact JSON, and as it is when that is read back.

    Raises ValueError if it cannot be written as JSON.
    """
    check(value)
    try:
        text = to_json(value)
    except PydanticSerializationError as error:
        raise ValueError("it is not JSON") from error
    return text, from_json(text)


def encode(value: Any, indent: int | None = None) -> bytes:
    """A value of the service's own as JSON for storage. Numbers that are not finite become null."""
    text = json.dumps(value, indent=indent)
    if "NaN" in text or "Infinity" in text:
        text = json.dumps(json.loads(text, parse_constant=lambda _: None), indent=indent)
    return text.encode()


def decode_object(data: bytes) -> dict[str, Any]:
    """Parse a stored JSON object. NaN and infinities become null. Raises ValueError."""
    try:
        found = json.loads(data, parse_constant=lambda _: None)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")
    return found


def _check_text(field: str, text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        where = shown(field) or "body"
        raise ValueError(f"{where}: it holds half a surrogate pair, which is not Unicode; send UTF-8") from None
