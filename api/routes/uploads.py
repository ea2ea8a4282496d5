"""A producer's audio files: uploaded as base64 in JSON, as a form, or by the client to the bucket; and analysed."""

from __future__ import annotations

import asyncio
import io
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import asdict
from hashlib import file_digest
from pathlib import Path
from typing import TypeVar

from api.capacity.parsing import Parser
from api.capacity.thread_pools import to_record_thread
from api.routes.examples import UPLOAD, UPLOADED
from api.routes.forms import on_disk
from api.routes.handler import Front, Inputs
from api.routes.route import TRAIN, Parameter, Route
from api.routes.upload_bodies import decode_base64, parse_upload_body, too_large
from contract import (
    AnalysisAnswer,
    EmbeddedTags,
    StoreUploadAnswer,
    StoreUploadRequest,
    UploadFields,
    UploadLinkAnswer,
    UploadLinkRequest,
)
from contract.validation import validated
from core import principal
from core.errors import Refusal
from core.logs import note
from core.sandbox import Exceeded, Limits
from core.settings import Settings
from core.temporary import TemporaryFolder
from core.text import shown
from preprocessing.analysis_record import analysis_record
from preprocessing.decode import check_ends, probe
from preprocessing.embedded_tags import parse_tags, read_tags
from preprocessing.isolation import (
    ANALYSE,
    ANALYSE_LONG,
    ANALYSIS,
    CHECK,
    DECODING,
    READ_TAGS,
    SONG_SECONDS,
    refusing,
)
from storage import AlreadyExists, NotFound, Storage, digest_of, keys
from storage.ownership import check_quota

T = TypeVar("T")

# A client must begin its upload within this time. The upload itself may take longer.
_LINK_SECONDS = 3600

# Only a file's header and its ends are decoded, which takes milliseconds.
_CHECKS = Parser(DECODING, CHECK, at_once=4, each=2)
_TAGS = Parser(DECODING, READ_TAGS, at_once=2, each=1)
# A body is in memory three times, as bytes, text and decoded file, of some hundred megabytes each (MAX_BODY_BYTES).
_BODIES = Parser(DECODING, Limits(memory=2 * 2**30, cpu_seconds=20, seconds=60, niceness=5), at_once=2, each=1)
# Analysis takes a core, which serving needs as well: a second for a song, minutes for a recording of hours.
_SONGS = Parser(ANALYSIS, ANALYSE, at_once=1, each=1)
_RECORDINGS = Parser(ANALYSIS, ANALYSE_LONG, at_once=1, each=1)


async def upload(front: Front, inputs: Inputs[UploadFields]) -> StoreUploadAnswer:
    """Store the form's file in constant memory."""
    fields, files = inputs.body, inputs.files["file"]
    if len(files) > 1:
        raise Refusal(400, "file: send one a request")
    producer, file = fields.producer_id, files[0]
    key, answer = _new_upload(producer, fields.job_id, fields.filename or file.filename or "audio.wav")
    answer.warnings = await _check_and_store("file", key, producer, on_disk(file), front.storage, front.settings)
    return answer


async def upload_link(front: Front, inputs: Inputs[UploadLinkRequest]) -> UploadLinkAnswer:
    return await asyncio.to_thread(_link, inputs.body, front.storage, front.settings)


async def upload_analysis(front: Front, inputs: Inputs[None]) -> AnalysisAnswer:
    return await _analyse(inputs.query["path"], front.storage)


async def store(request: StoreUploadRequest, storage: Storage, settings: Settings) -> StoreUploadAnswer:
    """Check the audio and store it. The same bytes may be stored again at the same path; other bytes may not."""
    key, answer = _new_upload(request.producer_id, request.job_id, request.filename)
    with tempfile.TemporaryFile(buffering=0) as file:
        await asyncio.to_thread(decode_base64, request.content_base64, file, settings.max_upload_bytes)
        answer.warnings = await _check_and_store("content_base64", key, request.producer_id, file, storage, settings)
    return answer


async def store_body(body: io.FileIO, storage: Storage, settings: Settings) -> StoreUploadAnswer:
    """`store` for a request body that is a file on disk, in constant memory."""
    with tempfile.TemporaryFile(buffering=0) as file:
        try:
            document = await _BODIES.run(parse_upload_body, body, file, settings.max_upload_bytes)
        except Exceeded as reason:
            raise Refusal(413, f"content_base64: {reason}") from reason
        request = validated(StoreUploadRequest, document)
        key, answer = _new_upload(request.producer_id, request.job_id, request.filename)
        answer.warnings = await _check_and_store("content_base64", key, request.producer_id, file, storage, settings)
    return answer


async def _check_and_store(
    field: str, key: str, producer: str, file: io.FileIO, storage: Storage, settings: Settings
) -> list[str]:
    """Store the file if it is audio, and return warnings about its sound."""
    size = file.seek(0, io.SEEK_END)
    if size > settings.max_upload_bytes:
        raise too_large(field, settings.max_upload_bytes)
    info = await _in_sandbox(_CHECKS, field, check_ends, file)
    ANALYSIS.start()  # an analysis is likely to be requested next

    def put() -> None:
        # The same file sent again takes no more space.
        if settings.producer_max_bytes is not None and storage.stat(key) is None:
            check_quota(storage, producer, size, settings.producer_max_bytes)
        try:
            storage.put_file(key, file, if_absent=True)
        except AlreadyExists:
            file.seek(0)
            if digest_of(storage, key) != file_digest(file, "sha256").hexdigest():
                raise _taken(key) from None

    await asyncio.to_thread(put)
    return list(info.warnings)


def _link(request: UploadLinkRequest, storage: Storage, settings: Settings) -> UploadLinkAnswer:
    """A URL to which the client uploads the file itself. The file is checked when it is trained on."""
    key, answer = _new_upload(request.producer_id, request.job_id, request.filename)
    if request.bytes > settings.max_upload_bytes:
        raise too_large("bytes", settings.max_upload_bytes)
    if storage.stat(key):
        raise _taken(key)
    check_quota(storage, request.producer_id, request.bytes, settings.producer_max_bytes)
    link = storage.upload_link(key, _LINK_SECONDS, request.bytes)
    if link is None:
        raise Refusal(409, "this service keeps its files in a folder, which has no links: send the file to /uploads")
    url, headers = link
    return UploadLinkAnswer(**answer.model_dump(), url=url, method="PUT", headers=headers, expires_in=_LINK_SECONDS)


async def _analyse(path: str, storage: Storage) -> AnalysisAnswer:
    """Raises Refusal: 400 for a malformed path or a file that is not audio, 404."""
    key = keys.from_path(path, "path")
    missing = Refusal(404, f"path: {shown(path)} does not exist; upload it first")
    parts = key.split("/")
    if len(parts) < 4 or parts[0] != "uploads" or not principal.sees(parts[1]):
        raise missing
    with TemporaryFolder("analysis") as folder:
        file = await to_record_thread(storage.local, key)
        try:
            if file is None:
                file = folder / "upload"
                await asyncio.to_thread(storage.get_file, key, file)
        except NotFound:
            raise missing from None
        field = f"path: {shown(path)}"
        info = await _in_sandbox(_CHECKS, field, probe, file)
        record = await _in_sandbox(
            _SONGS if info.seconds <= SONG_SECONDS else _RECORDINGS, field, analysis_record, file
        )
        tags = await _embedded_tags(file, info.format)
    fields = {name: record[name] for name in AnalysisAnswer.model_fields if name in record}
    return AnalysisAnswer(
        path=path,
        format=info.format,
        sample_rate=info.sample_rate,
        channels=info.channels,
        embedded=tags,
        **fields,
    )


async def _embedded_tags(file: Path, format: str) -> EmbeddedTags:
    """The tags inside the file; none if they exceed their sandbox's limits."""
    try:
        return EmbeddedTags(**asdict(parse_tags(await _TAGS.run(read_tags, file, format))))
    except Exceeded:
        return EmbeddedTags()


async def _in_sandbox(parser: Parser, field: str, function: Callable[..., T], file: io.FileIO | Path) -> T:
    with refusing(field):
        return await parser.run(function, file)


def _new_upload(producer: str, job: str | None, filename: str) -> tuple[str, StoreUploadAnswer]:
    """The storage key and the answer. Raises Refusal (403) if the API key is not for the producer."""
    principal.check_producer(producer)
    job_id = job or str(uuid.uuid4())
    key = keys.upload(producer, job_id, keys.safe_filename(filename))
    note(object=key)
    return key, StoreUploadAnswer(path=keys.to_path(key), producer_id=producer, job_id=job_id)


def _taken(key: str) -> Refusal:
    return Refusal(409, f"filename: {keys.to_path(key)} holds another file; choose another filename or job_id")


ROUTES = (
    Route(
        "POST",
        "/store-upload",
        "producers",
        "Store an audio file, sent as base64",
        TRAIN,
        body=StoreUploadRequest,
        body_example={"producer_id": "ada", "filename": "beat.wav", "content_base64": "UklGRi4AAABXQVZFZm10…"},
        answer=(StoreUploadAnswer,),
        answer_example=UPLOADED,
        errors=(409, 507),
        writes=True,
        spooled=True,
        cancelled_on_disconnect=True,
        makes=True,
    ),
    Route(
        "POST",
        "/uploads",
        "producers",
        "Store an audio file of any size, sent as a form",
        TRAIN,
        upload,
        form=UploadFields,
        form_files=("file",),
        answer=(StoreUploadAnswer,),
        answer_example=UPLOADED,
        errors=(409, 507),
        writes=True,
        cancelled_on_disconnect=True,
        web_app=True,
        makes=True,
    ),
    Route(
        "POST",
        "/uploads/link",
        "producers",
        "A URL to upload a file straight to the bucket, where storage is S3",
        TRAIN,
        upload_link,
        body=UploadLinkRequest,
        body_example={"producer_id": "ada", "bytes": 31_752_044, "filename": "beat.wav"},
        answer=(UploadLinkAnswer,),
        answer_example=UPLOADED
        | {"url": "https://bucket.example/…", "method": "PUT", "headers": {"if-none-match": "*"}, "expires_in": 3600},
        errors=(409, 507),
        writes=True,
        makes=True,
    ),
    Route(
        "GET",
        "/uploads/analysis",
        "producers",
        "Analyse an uploaded file: length, tempo, key and levels",
        TRAIN,
        upload_analysis,
        parameters=(Parameter("path", "The path that an upload answered.", required=True),),
        answer=(AnalysisAnswer,),
        answer_example={
            "path": UPLOAD,
            "format": "wav",
            "sample_rate": 44_100,
            "channels": 2,
            "seconds": 184.2,
            "bpm": 140.0,
            "bpm_confidence": 0.78,
            "bpm_alternative": 70.0,
            "bpm_alternative_confidence": 0.2,
            "key": "A minor",
            "key_confidence": 0.71,
            "peak": -0.1,
            "loudness": -9.8,
            "clipped": 0,
            "silent": 0.4,
            "warnings": [],
            "embedded": {
                "title": "Night Drive",
                "artist": "Ada",
                "album": None,
                "genre": "techno",
                "bpm": 140.0,
                "key": None,
            },
        },
        errors=(404,),
        writes=True,
        cancelled_on_disconnect=True,
        web_app=True,
    ),
)
