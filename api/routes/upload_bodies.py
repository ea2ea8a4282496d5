"""A body of `/store-upload`, taken apart: its sound goes to a file, and what else it says is returned."""

from __future__ import annotations

import base64
import binascii
import io
import json
from typing import Any

from core.disk import temporary_space
from core.errors import Refusal

_NAMES = ("content_base64", "contentBase64")
# What the fields beside the sound may take, in characters of JSON.
_MAX_BESIDE = 2**16


def take_apart(body: io.FileIO, sound: io.FileIO, most: int) -> Any:
    """The body's JSON, in which a letter stands for the sound that was written to the file.

    Args:
        most: bytes that the sound may have.

    Raises:
        Refusal: 400, 413, 507.
    """
    body.seek(0)
    try:
        document = json.loads(body.readall())
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is not valid JSON") from None
    name = next((name for name in _NAMES if isinstance(document, dict) and name in document), None)
    if name and isinstance(document[name], str) and document[name]:
        decode(document[name], sound, most)
        document[name] = "_"
    if len(json.dumps(document)) > _MAX_BESIDE:
        raise Refusal(413, "the body has more than a file in it; send its other fields alone")
    return document


def decode(text: str, file: io.FileIO, most: int) -> None:
    """Write what the base64 stands for. Raises Refusal: 400, 413, 507."""
    # Data URLs are what browsers make of files.
    payload = text.partition(",")[2] if text.startswith("data:") else text
    if len(payload) * 3 // 4 > most + 2:
        raise too_large("content_base64", most)
    try:
        data = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, "content_base64: it is not valid base64") from error
    with temporary_space():
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]


def too_large(field: str, limit: int) -> Refusal:
    size = f"{limit / 2**20:.3g} MB" if limit >= 2**20 else f"{limit} bytes"
    return Refusal(413, f"{field}: the file is over {size}; send a shorter or compressed one")
