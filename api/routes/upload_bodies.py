"""Parses a body of `/store-upload` in the sandbox: the audio goes to a file, and the other fields are returned."""

from __future__ import annotations

import base64
import binascii
import io
import json
from typing import Any

from core.disk import temporary_space
from core.errors import Refusal

_AUDIO_FIELDS = ("content_base64", "contentBase64")
_MAX_OTHER_CHARACTERS = 2**16  # of the JSON without the audio


def parse_upload_body(body: io.FileIO, audio: io.FileIO, max_bytes: int) -> Any:
    """The body's JSON, with "_" in place of the base64, whose bytes are written to the file.

    Args:
        audio: the file to write to.
        max_bytes: of the audio.

    Raises:
        Refusal: 400, 413, 507.
    """
    body.seek(0)
    try:
        document = json.loads(body.readall())
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is not valid JSON") from None
    name = next((name for name in _AUDIO_FIELDS if isinstance(document, dict) and name in document), None)
    if name and isinstance(document[name], str) and document[name]:
        decode_base64(document[name], audio, max_bytes)
        document[name] = "_"
    if len(json.dumps(document)) > _MAX_OTHER_CHARACTERS:
        raise Refusal(413, "the body has more than a file in it; send its other fields alone")
    return document


def decode_base64(text: str, file: io.FileIO, max_bytes: int) -> None:
    """Write the bytes of base64, or of a data URL, to the file. Raises Refusal: 400, 413, 507."""
    # Browsers read files as data URLs.
    payload = text.partition(",")[2] if text.startswith("data:") else text
    if len(payload) * 3 // 4 > max_bytes + 2:
        raise too_large("content_base64", max_bytes)
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
