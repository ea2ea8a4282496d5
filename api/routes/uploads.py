"""A producer's files, in whichever of three ways they come: base64 in JSON, a form, or past us into the bucket."""

from __future__ import annotations

import asyncio
import io
import tempfile
import uuid
from collections.abc import Callable
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, TypeVar

from api.capacity.parsing import Parser
from api.capacity.thread_pools import to_record_thread
from api.routes.inputs import parsed
from api.routes.upload_bodies import decode, take_apart, too_large
from contract import (
    AnalysisAnswer,
    StoreUploadAnswer,
    StoreUploadRequest,
    UploadFields,
    UploadLinkAnswer,
    UploadLinkRequest,
)
from core import principal
from core.errors import Refusal
from core.logs import note
from core.sandbox import Exceeded, Limits
from core.settings import Settings
from core.text import shown
from preprocessing.decode import check_file, probe
from preprocessing.isolation import ANALYSE, ANALYSE_LONG, ANALYSIS, CHECK, DECODING, SONG_SECONDS, refusing
from storage import AlreadyExists, NotFound, Storage, keys
from storage.ownership import check_room

T = TypeVar("T")

# A browser must begin within this time; what is under way may take longer.
_LINK_SECONDS = 3600


# A file's header and ends are looked at: milliseconds each.
_CHECKS = Parser(DECODING, CHECK, at_once=4, each=2)
# A body is in memory as bytes, as text and as the file; none is over some hundred megabytes.
_BODIES = Parser(DECODING, Limits(memory=2 * 2**30, cpu_seconds=20, seconds=60, niceness=5), at_once=2, each=1)
# Listening takes a core, which serving needs as well: a second for a song, minutes for a recording of hours.
_SONGS = Parser(ANALYSIS, ANALYSE, at_once=1, each=1)
_RECORDINGS = Parser(ANALYSIS, ANALYSE_LONG, at_once=1, each=1)


async def store(request: StoreUploadRequest, storage: Storage, settings: Settings) -> StoreUploadAnswer:
    """Check the audio and keep it. The same bytes at the same path again are welcome, others are not."""
    key, answer = _place(request.producer_id, request.job_id, request.filename)
    with tempfile.TemporaryFile(buffering=0) as file:
        await asyncio.to_thread(decode, request.content_base64, file, settings.max_upload_bytes)
        answer.warnings = await _keep("content_base64", key, request.producer_id, file, storage, settings)
    return answer


async def store_body(body: io.FileIO, storage: Storage, settings: Settings) -> StoreUploadAnswer:
    """The same for a request's body on disk, in constant memory."""
    with tempfile.TemporaryFile(buffering=0) as file:
        try:
            document = await _BODIES.run(take_apart, body, file, settings.max_upload_bytes)
        except Exceeded as reason:
            raise Refusal(413, f"content_base64: {reason}") from reason
        request = parsed(StoreUploadRequest, document)
        key, answer = _place(request.producer_id, request.job_id, request.filename)
        answer.warnings = await _keep("content_base64", key, request.producer_id, file, storage, settings)
    return answer


async def store_file(
    fields: UploadFields, name: str, file: io.FileIO, storage: Storage, settings: Settings
) -> StoreUploadAnswer:
    """The same for a file on disk, in constant memory. `name` is the client's, where the fields have none."""
    key, answer = _place(fields.producer_id, fields.job_id, fields.filename or name or "audio.wav")
    answer.warnings = await _keep("file", key, fields.producer_id, file, storage, settings)
    return answer


async def _keep(
    field: str, key: str, producer: str, file: io.FileIO, storage: Storage, settings: Settings
) -> list[str]:
    """Store the file if it is audio, and return what is wrong with its sound."""
    size = file.seek(0, io.SEEK_END)
    if size > settings.max_upload_bytes:
        raise too_large(field, settings.max_upload_bytes)
    info = await _parsed(_CHECKS, field, check_file, file)
    ANALYSIS.start()  # which is likely to be asked for next

    def put() -> None:
        _make_room(key, producer, size, storage, settings)
        try:
            storage.put_file(key, file, if_absent=True)
        except AlreadyExists:
            file.seek(0)
            _welcome_again(storage, key, file_digest(file, "sha256").hexdigest())

    await asyncio.to_thread(put)
    return list(info.warnings)


def link(request: UploadLinkRequest, storage: Storage, settings: Settings) -> UploadLinkAnswer:
    """Where the client may put the file by itself. What it puts there is looked at when it is trained on."""
    key, answer = _place(request.producer_id, request.job_id, request.filename)
    if request.bytes > settings.max_upload_bytes:
        raise too_large("bytes", settings.max_upload_bytes)
    if storage.stat(key):
        raise _taken(key)
    check_room(storage, request.producer_id, request.bytes, settings.producer_max_bytes)
    made = storage.upload_link(key, _LINK_SECONDS, request.bytes)
    if made is None:
        raise Refusal(409, "this service keeps its files in a folder, which has no links: send the file to /uploads")
    url, headers = made
    return UploadLinkAnswer(**answer.model_dump(), url=url, method="PUT", headers=headers, expires_in=_LINK_SECONDS)


async def listen(path: str, storage: Storage) -> AnalysisAnswer:
    """What an upload is, before anything is trained on it.

    Raises:
        Refusal: 400 for a path that is none or a file that is no sound, 404.
    """
    key = keys.from_path(path, "path")
    missing = Refusal(404, f"path: {shown(path)} does not exist; upload it first")
    place = key.split("/")
    if len(place) < 4 or place[0] != "uploads" or not principal.sees(place[1]):
        raise missing
    with tempfile.TemporaryDirectory(prefix="analysis-") as folder:
        file = await to_record_thread(storage.local, key)
        try:
            if file is None:
                file = Path(folder) / "upload"
                await asyncio.to_thread(storage.get_file, key, file)
        except NotFound:
            raise missing from None
        field = f"path: {shown(path)}"
        info = await _parsed(_CHECKS, field, probe, file)
        record = await _parsed(_SONGS if info.seconds <= SONG_SECONDS else _RECORDINGS, field, _heard, file)
    told = {name: record[name] for name in AnalysisAnswer.model_fields if name in record}
    return AnalysisAnswer(path=path, format=info.format, sample_rate=info.sample_rate, channels=info.channels, **told)


async def _parsed(parser: Parser, field: str, function: Callable[..., T], file: io.FileIO | Path) -> T:
    with refusing(field):
        return await parser.run(function, file)


def _heard(file: Path) -> dict[str, Any]:
    from preprocessing.analysis import analyse  # which the front need not load

    return analyse(file).record()


def _place(producer: str, job: str | None, filename: str) -> tuple[str, StoreUploadAnswer]:
    """The key, and what the client is told. Raises Refusal (403) for a producer that is another's."""
    principal.own(producer)
    job_id = job or str(uuid.uuid4())
    key = keys.upload(producer, job_id, keys.safe_filename(filename))
    note(object=key)
    return key, StoreUploadAnswer(path=keys.to_path(key), producer_id=producer, job_id=job_id)


def _make_room(key: str, producer: str, size: int, storage: Storage, settings: Settings) -> None:
    """Raises Refusal (507) unless the producer may store it, or has."""
    if settings.producer_max_bytes is not None and storage.stat(key) is None:
        check_room(storage, producer, size, settings.producer_max_bytes)


def _welcome_again(storage: Storage, key: str, digest: str) -> None:
    """Raises Refusal (409) unless the object that is there has this digest."""
    entry = storage.stat(key)
    if entry is None or (entry.sha256 or sha256(storage.get(key)).hexdigest()) != digest:
        raise _taken(key)


def _taken(key: str) -> Refusal:
    return Refusal(409, f"filename: {keys.to_path(key)} holds another file; choose another filename or job_id")
