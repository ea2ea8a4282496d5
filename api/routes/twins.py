"""Twins: list, inspect, delete, import, export, roll back to a version, and train anew."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
from functools import cache

from starlette.responses import Response

from adapters.adapter_file import Header
from adapters.stored_adapter import StoredAdapter
from api.capacity.parsing import Parser
from api.capacity.thread_pools import to_record_thread
from api.imports import unpack
from api.imports.conversion import convert
from api.routes.examples import IMPORTED, TWIN, TWIN_ROW, VERSION
from api.routes.forms import on_disk
from api.routes.handler import Front, Inputs
from api.routes.route import ANY_SCOPE, OF_PRODUCER, TRAIN, TWIN_LINK, Parameter, Route
from contract import (
    VERSION_PATTERN,
    DeletedAnswer,
    ImportAnswer,
    ImportFields,
    LoraAnswer,
    LorasAnswer,
    RetrainAnswer,
    RetrainRequest,
    RollbackRequest,
    VersionAnswer,
    VersionsAnswer,
    is_version,
)
from core import principal
from core.errors import Refusal
from core.gate import Gate
from core.sandbox import Limits
from core.text import shown
from preprocessing.isolation import DECODING, refusing
from runners import TABLE
from runners.messages import ConvertRequest
from storage import Damaged
from storage.ownership import check_quota

# Enough to read and unpack an adapter of the largest size.
_UNPACKING = Parser(DECODING, Limits(memory=4 * 2**30, cpu_seconds=30, seconds=60, niceness=5), at_once=2, each=1)
_IMPORTS = Gate(at_once=2, each=1)


async def list_all(front: Front, inputs: Inputs[None]) -> LorasAnswer:
    """The principal's own twins, and those of others that are open to it."""
    stored = front.library.all(inputs.query.get("producer_id"))

    record_of = cache(lambda producer: front.producers.find_intact(producer))

    def is_listed(header: Header) -> bool:
        if principal.sees(header.producer_id):
            return True
        record = record_of(header.producer_id) if front.sign_in else None
        return record is not None and record.is_open(header.model_name, principal.current().links)

    found = await to_record_thread(lambda: [twin for twin in stored if is_listed(twin.header)])
    return LorasAnswer(loras=[await _row(front, twin) for twin in found])


async def inspect(front: Front, inputs: Inputs[None]) -> LoraAnswer:
    found = await to_record_thread(front.library.find, inputs.path["lora_id"])
    return await _row(front, found[0])


async def delete(front: Front, inputs: Inputs[None]) -> DeletedAnswer:
    if front.sign_in:
        producer, _, model = inputs.path["lora_id"].partition(":")
        # A twin that is made later under the same name is another one, and begins as private.
        with suppress(Damaged):
            await asyncio.to_thread(front.producers.change, producer, {model: "private"})
    await asyncio.to_thread(front.library.delete, inputs.path["lora_id"])
    return DeletedAnswer(lora_id=inputs.path["lora_id"], deleted=True)


async def versions(front: Front, inputs: Inputs[None]) -> VersionsAnswer:
    lora_id = inputs.path["lora_id"]

    def collect() -> tuple[list[StoredAdapter], str | None]:
        found = front.library.versions(lora_id)
        try:
            return found, front.library.find(lora_id)[0].header.version
        except Refusal:  # the twin's files are gone or damaged, and it is to be rolled back to a version
            return found, None

    found, current = await to_record_thread(collect)
    rows = [
        VersionAnswer(
            **(await _row(front, twin)).model_dump(),
            job_id=twin.header.job_id,
            current=twin.header.version == current,
            partial=twin.header.partial or None,
        )
        for twin in found
    ]
    return VersionsAnswer(lora_id=lora_id, versions=rows)


async def roll_back(front: Front, inputs: Inputs[RollbackRequest]) -> LoraAnswer:
    twin = await asyncio.to_thread(front.library.roll_back, inputs.path["lora_id"], inputs.body.version)
    return await _row(front, twin)


async def export(front: Front, inputs: Inputs[None]) -> Response:
    """The adapter file; with `?version=`, that of another version than the current one."""
    lora_id, version = inputs.path["lora_id"], inputs.query.get("version")
    if version is not None and not is_version(version):
        raise Refusal(404, f"lora_id: there is no twin {lora_id}@{shown(version)}; see /loras/{lora_id}/versions")

    def read() -> tuple[StoredAdapter, bytes]:
        twin = front.library.find(f"{lora_id}@{version}" if version else lora_id)[0]
        return twin, front.library.read(twin)

    twin, data = await asyncio.to_thread(read)
    filename = f"{twin.header.producer_id}_{twin.header.model_name}.safetensors"
    headers = {"content-disposition": f'attachment; filename="{filename}"', "x-version": twin.header.version}
    return Response(data, media_type="application/octet-stream", headers=headers)


async def import_adapter(front: Front, inputs: Inputs[ImportFields]) -> ImportAnswer:
    """A twin of an adapter made elsewhere. Its adapter_config.json may be the form's second `file`."""
    fields, files = inputs.body, inputs.files["file"]
    principal.check_producer(fields.producer_id)
    size = sum(file.size or 0 for file in files)
    limit = min(unpack.MAX_BYTES, await front.runners.largest_adapter())
    if size > limit:
        raise Refusal(413, f"file: it is over {limit // 2**20} MB, more than an adapter of the served models has")
    opened = {file.filename or "": on_disk(file) for file in files}
    if len(opened) < len(files):
        raise Refusal(400, "file: two files have one name; send the adapter and its adapter_config.json")
    quota = front.settings.producer_max_bytes
    await asyncio.to_thread(check_quota, front.storage, fields.producer_id, size, quota)
    async with _IMPORTS.slot():
        with refusing("file"):
            data, config = await _UNPACKING.run(unpack.unpacked_files, opened, limit)
        request = ConvertRequest(data=data, config=config, producer_id=fields.producer_id, model_name=fields.model_name)
        converted = await convert(request, fields.backend, front.runners, front.settings)
        twin = await asyncio.to_thread(front.library.add, converted.data)
    return ImportAnswer(**(await _row(front, twin)).model_dump(), notes=converted.notes)


async def retrain(front: Front, inputs: Inputs[RetrainRequest]) -> RetrainAnswer:
    lora_id = inputs.path["lora_id"]
    record = await asyncio.to_thread(front.admission.admit_again, lora_id, inputs.body)
    if record.state == "queued":
        await front.training.to_async.start(job_id=record.job_id)
    return RetrainAnswer(job_id=record.job_id, lora_id=lora_id, state=record.state)


async def _row(front: Front, twin: StoredAdapter) -> LoraAnswer:
    header = twin.header
    reason = await _why_unusable(front, header)
    return LoraAnswer(
        lora_id=header.lora_id,
        producer_id=header.producer_id,
        model_name=header.model_name,
        backend=header.backend,
        version=header.version,
        rank=header.rank,
        base=header.base,
        bpm=header.bpm,
        recommended_scale=header.default_scale,
        usable=reason is None,
        reason=reason or _partial(header),
        created_at=datetime.fromisoformat(header.created_at),
        bytes=twin.size,
        sha256=header.sha256,
    )


def _partial(header: Header) -> str | None:
    if not header.partial:
        return None
    step, _, steps = header.partial.partition("/")
    return f"it is partial: its training was cancelled at step {step} of {steps}"


async def _why_unusable(front: Front, header: Header) -> str | None:
    """Why the twin cannot be used now; None if it can."""
    backend = TABLE.enabled(front.settings).get(header.backend)
    if backend is None:
        return f"{header.backend} is not served here"
    state = await front.runners.state(backend)
    if not state.ready:
        return f"{header.backend} cannot serve: {state.reason}"
    if state.base_sha256 != header.base_sha256:
        return (
            f"it was trained on {header.base} as it was then; {state.checkpoint} is served now: "
            f"train it again (POST /loras/{header.lora_id}/retrain)"
        )
    return None


_VERSION = Parameter("version", "A version other than the current one.", {"type": "string", "pattern": VERSION_PATTERN})
ROUTES = (
    Route(
        "GET",
        "/loras",
        "twins",
        "List the twins",
        ANY_SCOPE,
        list_all,
        parameters=(OF_PRODUCER, TWIN_LINK),
        answer=(LorasAnswer,),
        answer_example={"loras": [TWIN_ROW]},
        web_app=True,
    ),
    Route(
        "POST",
        "/loras/import",
        "twins",
        "Import an adapter made elsewhere as a twin; a second `file` may be its adapter_config.json",
        TRAIN,
        import_adapter,
        form=ImportFields,
        form_files=("file",),
        answer=(ImportAnswer,),
        answer_example=IMPORTED,
        errors=(409, 507),
        writes=True,
        cancelled_on_disconnect=True,
        makes=True,
        web_app=True,
    ),
    Route(
        "GET",
        "/loras/{lora_id}",
        "twins",
        "A twin",
        ANY_SCOPE,
        inspect,
        takes="open",
        parameters=(TWIN_LINK,),
        answer=(LoraAnswer,),
        answer_example=TWIN_ROW,
        web_app=True,
    ),
    Route(
        "DELETE",
        "/loras/{lora_id}",
        "twins",
        "Delete a twin with all its versions",
        TRAIN,
        delete,
        answer=(DeletedAnswer,),
        answer_example={"lora_id": TWIN, "deleted": True},
        writes=True,
        web_app=True,
    ),
    Route(
        "GET",
        "/loras/{lora_id}/versions",
        "twins",
        "List the versions of a twin, the newest first",
        ANY_SCOPE,
        versions,
        answer=(VersionsAnswer,),
        answer_example={"lora_id": TWIN, "versions": [TWIN_ROW | {"job_id": "takes", "current": True}]},
        web_app=True,
    ),
    Route(
        "POST",
        "/loras/{lora_id}/rollback",
        "twins",
        "Roll a twin back to one of its versions",
        TRAIN,
        roll_back,
        body=RollbackRequest,
        body_example={"version": VERSION},
        answer=(LoraAnswer,),
        answer_example=TWIN_ROW,
        writes=True,
        web_app=True,
    ),
    Route(
        "POST",
        "/loras/{lora_id}/retrain",
        "twins",
        "Train a twin again on its dataset, on the checkpoint that is served now",
        TRAIN,
        retrain,
        body=RetrainRequest,
        body_example={},
        body_required=False,
        answer=(RetrainAnswer,),
        answer_example={"job_id": "again", "lora_id": TWIN, "state": "queued"},
        errors=(409, 507),
        writes=True,
        makes=True,
        web_app=True,
    ),
    Route(
        "GET",
        "/loras/{lora_id}/file",
        "twins",
        "The adapter file",
        TRAIN,
        export,
        parameters=(_VERSION,),
        files=("application/octet-stream",),
        stream=True,
        web_app=True,
    ),
)
