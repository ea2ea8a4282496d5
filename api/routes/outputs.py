"""Serves stored tracks and previews, from the folder or by a link to the bucket, and converts tracks."""

from __future__ import annotations

import asyncio
from pathlib import PurePosixPath

from soundfile import LibsndfileError
from starlette.responses import FileResponse, RedirectResponse, Response

from api.capacity.parsing import Parser
from api.capacity.thread_pools import to_record_thread
from contract import OutputFormat
from core.errors import Refusal
from core.sandbox import Exceeded, Limits
from core.settings import Settings
from core.temporary import TemporaryFolder
from core.text import shown
from generation.access import may_fetch
from generation.encode import MEDIA_TYPES, transcode
from generation.outbox import Outbox
from preprocessing.isolation import DECODING
from storage import Damaged, NotFound, Storage, keys, records

_TYPES = MEDIA_TYPES | {"png": "image/png"}

# Enough to decode ten minutes of stereo at 48 kHz twice, and to encode them once.
_CONVERSIONS = Parser(DECODING, Limits(memory=2 * 2**30, cpu_seconds=120, seconds=300, niceness=10), at_once=1, each=1)


def link(key: str, storage: Storage, outbox: Outbox, settings: Settings) -> str:
    """The URL of a track: one of the bucket, which expires, or a path of this service."""
    if outbox.waiting(key):
        return keys.to_path(key)
    return storage.link(key, settings.link_seconds, media_type(key)) or keys.to_path(key)


async def serve(key: str, storage: Storage, outbox: Outbox, settings: Settings) -> Response:
    """The stored object. The key must be that of a track or a preview.

    Raises:
        Refusal: 404; 500, the object is empty.
    """
    if keys.is_key(key) and may_fetch(key):
        if path := outbox.waiting(key):
            return FileResponse(path, media_type=media_type(key))
        entry = await to_record_thread(storage.stat, key)
        if entry and not entry.size:
            records.report_damaged(key, "it is empty")
            raise Damaged(key)
        if path := await to_record_thread(storage.local, key):
            return FileResponse(path, media_type=media_type(key))
        url = storage.link(key, settings.link_seconds, media_type(key))
        if url and entry:
            return RedirectResponse(url)
    raise Refusal(404, f"there is nothing at {keys.PATH_PREFIX}{shown(key)}")


async def convert(key: str, output_format: OutputFormat, storage: Storage, outbox: Outbox) -> Response:
    """A losslessly stored track in another format.

    Raises:
        Refusal: 400, the track is stored lossily; 404; 409, it takes too long; 500, it is damaged.
    """
    missing = Refusal(404, f"there is nothing at {keys.PATH_PREFIX}{shown(key)}")
    if not (keys.is_key(key) and may_fetch(key)):
        raise missing
    stored = PurePosixPath(key)
    with TemporaryFolder("convert") as folder:
        file = outbox.waiting(key) or await to_record_thread(storage.local, key)
        try:
            if file is None:
                file = folder / stored.name
                await asyncio.to_thread(storage.get_file, key, file)
            elif not file.exists():
                raise missing
            if stored.suffix not in (".wav", ".flac"):
                lossy = f"{stored.suffix[1:]} has lost what {output_format} would need"
                raise Refusal(400, f"format: {lossy}; ask for wav or flac")
            converted = await _CONVERSIONS.run(transcode, file, output_format)
        except (NotFound, FileNotFoundError):
            raise missing from None
        except Exceeded as reason:
            raise Refusal(409, f"{keys.PATH_PREFIX}{shown(key)}: {reason}") from reason
        except (LibsndfileError, ValueError) as error:
            records.report_damaged(key, str(error))
            raise Damaged(key) from error
    name = f"{stored.stem}.{output_format}"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(converted, media_type=MEDIA_TYPES[output_format], headers=headers)


def media_type(key: str) -> str:
    return _TYPES.get(PurePosixPath(key).suffix[1:], "application/octet-stream")
