"""Stored tracks and pictures, as links: the bucket's own where there is one, else served from here, by ranges too."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import PurePosixPath

from soundfile import LibsndfileError
from starlette.responses import FileResponse, RedirectResponse, Response

from contract import OutputFormat
from edge import access
from errors import Refusal
from front.audio import EXTENSIONS, MEDIA_TYPES, converted
from front.outbox import Outbox
from settings import Settings
from storage import Damaged, NotFound, Storage, keys, records

_TYPES = {EXTENSIONS[name]: kind for name, kind in MEDIA_TYPES.items()} | {"png": "image/png"}


def link(key: str, storage: Storage, outbox: Outbox, settings: Settings) -> str:
    """Where a track may be fetched: a URL of the bucket for a while, or a path of this service."""
    if outbox.waiting(key):
        return keys.to_path(key)
    return storage.link(key, settings.link_seconds, media_type(key)) or keys.to_path(key)


async def serve(key: str, storage: Storage, outbox: Outbox, settings: Settings) -> Response:
    """What is stored there. Only tracks and previews can be fetched like this: the caller sees to the key.

    Raises:
        Refusal: 404; 500, it is empty.
    """
    if keys.is_key(key) and _may_hear(key):
        if path := outbox.waiting(key):
            return FileResponse(path, media_type=media_type(key))
        entry = await asyncio.to_thread(storage.stat, key)
        if entry and not entry.size:
            records.report(key, "it is empty")
            raise Damaged(key)
        if path := await asyncio.to_thread(storage.local, key):
            return FileResponse(path, media_type=media_type(key))
        url = storage.link(key, settings.link_seconds, media_type(key))
        if url and entry:
            return RedirectResponse(url)
    raise Refusal(404, f"there is nothing at {keys.ROOT}{keys.shown(key)}")


async def convert(key: str, output_format: OutputFormat, storage: Storage, outbox: Outbox) -> Response:
    """A track that is stored without loss, in another format.

    Raises:
        Refusal: 400, 404; 500, it is damaged.
    """
    missing = Refusal(404, f"there is nothing at {keys.ROOT}{keys.shown(key)}")
    if not (keys.is_key(key) and _may_hear(key)):
        raise missing
    waiting, stored = outbox.waiting(key), PurePosixPath(key)
    try:
        file = await asyncio.to_thread(waiting.read_bytes if waiting else partial(storage.get, key))
    except NotFound:
        raise missing from None
    if stored.suffix not in (".wav", ".flac"):
        raise Refusal(400, f"format: {stored.suffix[1:]} has lost what {output_format} would need; ask for wav or flac")
    try:
        made = await asyncio.to_thread(converted, file, output_format)
    except (LibsndfileError, ValueError) as error:
        records.report(key, str(error))
        raise Damaged(key) from error
    name = f"{stored.stem}.{EXTENSIONS[output_format]}"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(made, media_type=MEDIA_TYPES[output_format], headers=headers)


def _may_hear(key: str) -> bool:
    """A twin's track is its producer's; the base model's is whose the link is."""
    root, kind, producer, *_ = [*key.split("/"), "", ""]
    return (root, kind) != ("outputs", "twins") or access.sees(producer)


def media_type(key: str) -> str:
    return _TYPES.get(PurePosixPath(key).suffix[1:], "application/octet-stream")
