"""The routes of the twins."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from adapters.adapter_file import Header
from adapters.library import StoredAdapter
from api.capacity.gate import Gate
from api.capacity.parsing import Parser
from api.capacity.thread_pools import to_record_thread
from api.imports import fitting, unpack
from api.routes.forms import form, on_disk
from api.routes.inputs import Front, body, json_answer, lora_id, producer_of, query
from contract import (
    ImportAnswer,
    ImportFields,
    LoraAnswer,
    RetrainAnswer,
    RetrainRequest,
    RollbackRequest,
    VersionAnswer,
    is_version,
)
from core import principal
from core.errors import Refusal
from core.sandbox import Limits
from core.text import shown
from preprocessing.isolation import DECODING, refusing
from runners import TABLE
from storage.ownership import check_room

# Reads and unpacks files of up to the size of the largest adapter.
_UNPACKING = Parser(DECODING, Limits(memory=4 * 2**30, cpu_seconds=30, seconds=60, niceness=5), at_once=2, each=1)
_IMPORTS = Gate(at_once=2, each=1)


async def list_all(front: Front, request: Request) -> Response:
    stored = front.library.all(producer_of(query(request, "producer_id")))
    found = await to_record_thread(lambda: [twin for twin in stored if principal.sees(twin.header.producer_id)])
    return json_answer({"loras": [LoraAnswer(**await _row(front, twin)).model_dump(mode="json") for twin in found]})


async def inspect(front: Front, request: Request) -> Response:
    found = await to_record_thread(front.library.find, lora_id(request))
    return json_answer(LoraAnswer(**await _row(front, found[0])))


async def delete(front: Front, request: Request) -> Response:
    name = lora_id(request)
    await asyncio.to_thread(front.library.delete, name)
    return json_answer({"lora_id": name, "deleted": True})


async def versions(front: Front, request: Request) -> Response:
    name = lora_id(request)

    def collect() -> tuple[list[StoredAdapter], str | None]:
        found = front.library.versions(name)
        try:
            return found, front.library.find(name)[0].header.version
        except Refusal:  # its files are gone or damaged, and a version is to be rolled back to
            return found, None

    found, current = await to_record_thread(collect)
    rows = [
        VersionAnswer(
            **await _row(front, twin),
            job_id=twin.header.job_id,
            current=twin.header.version == current,
            partial=twin.header.partial or None,
        ).model_dump(mode="json")
        for twin in found
    ]
    return json_answer({"lora_id": name, "versions": rows})


async def roll_back(front: Front, request: Request) -> Response:
    name = lora_id(request)
    wanted = await body(request, RollbackRequest)
    twin = await asyncio.to_thread(front.library.roll_back, name, wanted.version)
    return json_answer(LoraAnswer(**await _row(front, twin)))


async def export(front: Front, request: Request) -> Response:
    """The adapter file as it is, `?version=` for another than the present one."""
    name = lora_id(request)
    version = query(request, "version").get("version")
    if version is not None and not is_version(version):
        raise Refusal(404, f"lora_id: there is no twin {name}@{shown(version)}; see /loras/{name}/versions")

    def read() -> tuple[StoredAdapter, bytes]:
        twin = front.library.find(f"{name}@{version}" if version else name)[0]
        return twin, front.library.read(twin)

    twin, data = await asyncio.to_thread(read)
    filename = f"{twin.header.producer_id}_{twin.header.model_name}.safetensors"
    headers = {"content-disposition": f'attachment; filename="{filename}"', "x-version": twin.header.version}
    return Response(data, media_type="application/octet-stream", headers=headers)


async def bring(front: Front, request: Request) -> Response:
    """An adapter made elsewhere. The form's `file` may come twice: the adapter and its adapter_config.json."""
    async with form(request, ImportFields) as (fields, files):
        principal.own(fields.producer_id)
        size = sum(file.size or 0 for file in files)
        most = min(unpack.MAX_BYTES, await front.runners.largest_adapter())
        if size > most:
            raise Refusal(413, f"file: it is over {most // 2**20} MB, more than an adapter of the served models has")
        opened = {file.filename or "": on_disk(file) for file in files}
        if len(opened) < len(files):
            raise Refusal(400, "file: two files have one name; send the adapter and its adapter_config.json")
        limit = front.settings.producer_max_bytes
        await asyncio.to_thread(check_room, front.storage, fields.producer_id, size, limit)
        async with _IMPORTS.place():
            with refusing("file"):
                data, config = await _UNPACKING.run(unpack.unpacked_files, opened, most)
            answer = await fitting.converted(
                data,
                config,
                fields.producer_id,
                fields.model_name,
                fields.backend,
                front.runners,
                front.settings,
            )
            twin = await asyncio.to_thread(front.library.add, answer.data)
    return json_answer(ImportAnswer(**await _row(front, twin), notes=answer.notes))


async def retrain(front: Front, request: Request) -> Response:
    """The twin anew from what it was trained on, on the checkpoint that is served now."""
    name = lora_id(request)
    wanted = await body(request, RetrainRequest)
    record = await asyncio.to_thread(front.admission.admit_again, name, wanted)
    if record.state == "queued":
        await front.training.to_async.start(job_id=record.job_id)
    return json_answer(RetrainAnswer(job_id=record.job_id, lora_id=name, state=record.state))


async def _row(front: Front, twin: StoredAdapter) -> dict[str, Any]:
    header = twin.header
    reason = await _why_not(front, header)
    return {
        "lora_id": header.lora_id,
        "producer_id": header.producer_id,
        "model_name": header.model_name,
        "backend": header.backend,
        "version": header.version,
        "rank": header.rank,
        "base": header.base,
        "usable": reason is None,
        "reason": reason or _partly(header),
        "created_at": header.created_at,
        "bytes": twin.size,
        "sha256": header.sha256,
    }


def _partly(header: Header) -> str | None:
    if not header.partial:
        return None
    step, _, steps = header.partial.partition("/")
    return f"it is partial: its training was cancelled at step {step} of {steps}"


async def _why_not(front: Front, header: Header) -> str | None:
    """What keeps a twin from being used just now; None if nothing does."""
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
