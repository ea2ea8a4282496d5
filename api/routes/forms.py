"""Bodies of multipart/form-data: the file goes to disk as it comes, never into memory."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from api.routes.inputs import parsed
from core.disk import temporary_space
from core.errors import Refusal

T = TypeVar("T", bound=BaseModel)

_FIELD_BYTES = 4096
_MAX_FIELDS = 16


@asynccontextmanager
async def form(request: Request, model: type[T]) -> AsyncIterator[tuple[T, list[UploadFile]]]:
    """The fields as the model, and the files of the field `file`, for as long as the block lasts.

    Raises:
        Refusal: 400 for a body that is no such form, 507 where the disk for temporary files is full.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise Refusal(415, "content-type: send multipart/form-data")
    data = await _received(request)
    try:
        fields: dict[str, Any] = {}
        files = []
        for name, value in data.multi_items():
            if not isinstance(value, UploadFile):
                if value:  # browsers send what was not filled in as well
                    fields[name] = value
            elif name == "file":
                files.append(value)
            else:
                raise Refusal(400, f"{name[:64]}: it must not be a file; send the file as `file`")
        if not files:
            raise Refusal(400, "file: it is missing; send it")
        yield parsed(model, fields), files
    finally:
        await data.close()


async def _received(request: Request) -> FormData:
    try:
        with temporary_space():
            return await request.form(max_files=8, max_fields=_MAX_FIELDS, max_part_size=_FIELD_BYTES)
    except HTTPException as error:
        raise Refusal(400, f"the body is not a valid form: {str(error.detail).rstrip('.')}") from error
    except ClientDisconnect:
        # Also how a body over the limit ends; the guard answers that.
        raise Refusal(400, "the body ended too early") from None


def on_disk(upload: UploadFile) -> io.FileIO:
    """The file as the operating system has it, for libraries that read by its descriptor. It closes with the form."""
    spooled: Any = upload.file
    spooled.rollover()
    spooled.flush()
    return io.FileIO(spooled.fileno(), closefd=False)
