"""Bodies of multipart/form-data. Files are written to disk as they arrive."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from api.routes.route import MULTIPART, Route
from core.disk import temporary_space
from core.errors import Refusal
from core.text import shown

# The longest field is the lyrics.
_MAX_FIELD_BYTES = 2**15
_MAX_FIELDS = 64
# Of a form in place of a JSON body.
_MAX_PLAIN_FIELD_BYTES = 2**16
_MAX_PLAIN_FIELDS = 100
_MAX_FILES = 8


FORM_TYPES = (MULTIPART, "application/x-www-form-urlencoded")


async def form_fields(request: Request) -> dict[str, str] | None:
    """The fields of a form without files; None if the body is no form.

    Raises:
        Refusal: 400 for a malformed form, or a form with a file.
    """
    if content_type(request.headers) not in FORM_TYPES:
        return None
    data = await _received(request, _MAX_PLAIN_FIELDS, _MAX_PLAIN_FIELD_BYTES)
    try:
        for name, value in data.multi_items():
            if isinstance(value, UploadFile):
                raise Refusal(400, f"{shown(name)}: this route takes no files; leave it out")
        return {name: value for name, value in data.multi_items() if isinstance(value, str)}
    finally:
        await data.close()


@asynccontextmanager
async def received_form(
    request: Request, route: Route
) -> AsyncIterator[tuple[dict[str, str], dict[str, list[UploadFile]]]]:
    """The text fields, and the files of each of the route's fields, which are open for as long as the block lasts.

    Raises:
        Refusal: 400 for a malformed form, 415 for another content type, 507 where the disk for temporary files is full.
    """
    if content_type(request.headers) != MULTIPART:
        raise Refusal(415, f"content-type: send {MULTIPART}")
    limits = (_MAX_PLAIN_FIELDS, _MAX_PLAIN_FIELD_BYTES) if route.body else (_MAX_FIELDS, _MAX_FIELD_BYTES)
    data = await _received(request, *limits)
    try:
        yield _parts(data, route)
    finally:
        await data.close()


def content_type(headers: Headers, default: str = "") -> str:
    """The type without its parameters, in lower case."""
    return headers.get("content-type", default).partition(";")[0].strip().lower()


async def _received(request: Request, max_fields: int, max_field_bytes: int) -> FormData:
    try:
        with temporary_space():
            return await request.form(max_files=_MAX_FILES, max_fields=max_fields, max_part_size=max_field_bytes)
    except HTTPException as error:
        raise Refusal(400, f"the body is not a valid form: {str(error.detail).rstrip('.')}") from error
    except ClientDisconnect:
        # A body over the limit ends like this as well; api.middleware.body_limits then answers in our place.
        raise Refusal(400, "the body ended too early") from None


def _parts(data: FormData, route: Route) -> tuple[dict[str, str], dict[str, list[UploadFile]]]:
    """Raises Refusal (400): a file is missing, or is in a field that takes none."""
    fields: dict[str, str] = {}
    files: dict[str, list[UploadFile]] = {name: [] for name in route.form_files}
    for name, value in data.multi_items():
        if not isinstance(value, UploadFile):
            if value:  # browsers send empty fields as well
                fields[name] = value
        elif name not in files:
            known = " or ".join(f"`{known}`" for known in files)
            raise Refusal(400, f"{name[:64]}: it must not be a file; send the file as {known}")
        elif value.filename or value.size:  # browsers send files that were not chosen as well
            files[name].append(value)
    if route.form_files_required:
        for name, found in files.items():
            if not found:
                raise Refusal(400, f"{name}: it is missing; send it")
    return fields, files


def on_disk(upload: UploadFile) -> io.FileIO:
    """The file as a `FileIO` on its descriptor, which the sandbox can pass on. It is closed with the form."""
    spooled: Any = upload.file
    spooled.rollover()
    spooled.flush()
    return io.FileIO(spooled.fileno(), closefd=False)
