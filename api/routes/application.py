"""The plain routes; those of the original contract that take a body are BentoML's own (service.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.capacity.thread_pools import to_record_thread
from api.openapi.document import document
from api.routes import jobs, outputs, producers, twins, uploads
from api.routes.forms import form, on_disk
from api.routes.inputs import Front, Handler, body, job_of, json_answer, query
from contract import FORMATS, OutputFormat, UploadFields, UploadLinkRequest, is_id
from core import metrics, principal
from core.asgi.responses import or_error
from core.errors import Refusal
from core.text import shown
from preprocessing import training_folder


async def backends(front: Front, request: Request) -> Response:
    return json_answer({"backends": [row.model_dump(mode="json") for row in await front.runners.describe()]})


async def queue(front: Front, request: Request) -> Response:
    return json_answer(await front.places.find(request.path_params["request_id"]))


async def status(front: Front, request: Request) -> Response:
    return await front.overview.page(front, request)


async def prometheus(front: Front, request: Request) -> Response:
    text = await to_record_thread(metrics.text) + await front.overview.metrics(front)
    return Response(text, media_type=metrics.MEDIA_TYPE)


async def upload(front: Front, request: Request) -> Response:
    async with form(request, UploadFields) as (fields, files):
        if len(files) > 1:
            raise Refusal(400, "file: send one a request")
        file = on_disk(files[0])
        name = files[0].filename or ""
        return json_answer(await uploads.store_file(fields, name, file, front.storage, front.settings))


async def upload_link(front: Front, request: Request) -> Response:
    wanted = await body(request, UploadLinkRequest)
    return json_answer(await asyncio.to_thread(uploads.link, wanted, front.storage, front.settings))


async def upload_analysis(front: Front, request: Request) -> Response:
    path = query(request, "path").get("path")
    if path is None:
        raise Refusal(400, "path: it is missing; send it")
    return json_answer(await uploads.listen(path, front.storage))


async def openapi(front: Front, request: Request) -> Response:
    return json_answer(document())


async def output(front: Front, request: Request) -> Response:
    key = f"outputs/{request.path_params['rest']}"
    wanted = request.query_params.get("format")
    if wanted is None:
        return await outputs.serve(key, front.storage, front.outbox, front.settings)
    if wanted not in FORMATS:
        raise Refusal(400, f"format: use one of {', '.join(FORMATS)}")
    return await outputs.convert(key, cast("OutputFormat", wanted), front.storage, front.outbox)


async def dataset(front: Front, request: Request) -> Response:
    producer = request.path_params["producer"]
    record = (
        await to_record_thread(training_folder.newest_record, front.storage, producer)
        if is_id(producer) and principal.sees(producer)
        else None
    )
    if record is None:
        raise Refusal(404, f"producer_id: {shown(producer)} has no dataset yet; train first")
    return json_answer(record)


async def producer(front: Front, request: Request) -> Response:
    name = _producer(request)
    return json_answer(await asyncio.to_thread(producers.usage, name, front.storage, front.settings))


async def delete_producer(front: Front, request: Request) -> Response:
    name = _producer(request)
    return json_answer(await asyncio.to_thread(producers.delete, name, front.storage, front.jobs, front.library))


def _producer(request: Request) -> str:
    name: str = request.path_params["producer"]
    if not is_id(name) or not principal.sees(name):
        raise Refusal(404, f"producer_id: nothing is stored for {shown(name)}")
    return name


async def _guarded(handler: Handler, front: Front, request: Request) -> Response:
    """What is asked for, unless its path names a job of another producer, whatever is asked of that."""
    if "id" in request.path_params and principal.current().producers is not None:
        await to_record_thread(job_of, front, request)
    return await handler(front, request)


def application(front: Callable[[], Front]) -> Starlette:
    """The routes, over the front service of this process."""

    def route(path: str, **handlers: Handler) -> Route:
        """`handlers` by method."""

        async def endpoint(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            return await or_error(_guarded(handlers[method], front(), request))

        return Route(path, endpoint, methods=list(handlers), name=path)

    twin = "/loras/{producer}:{model}"
    return Starlette(
        routes=[
            route("/docs.json", GET=openapi),
            route("/backends", GET=backends),
            route("/queue/{request_id}", GET=queue),
            route("/status", GET=status),
            route("/metrics", GET=prometheus),
            route("/uploads", POST=upload),
            route("/uploads/link", POST=upload_link),
            route("/uploads/analysis", GET=upload_analysis),
            route("/data/outputs/{rest:path}", GET=output),
            route("/jobs", GET=jobs.list_all),
            route("/jobs/{id}", GET=jobs.inspect, DELETE=jobs.delete),
            route("/jobs/{id}/cancel", POST=jobs.cancel),
            route("/jobs/{id}/resume", POST=jobs.resume),
            route("/jobs/{id}/events", GET=jobs.events),
            route("/jobs/{id}/report", GET=jobs.report_page),
            route("/jobs/{id}/report.json", GET=jobs.report_json),
            route("/jobs/{id}/previews/{name}", GET=jobs.preview),
            route("/loras", GET=twins.list_all),
            route("/loras/import", POST=twins.bring),
            route(twin, GET=twins.inspect, DELETE=twins.delete),
            route(f"{twin}/versions", GET=twins.versions),
            route(f"{twin}/rollback", POST=twins.roll_back),
            route(f"{twin}/retrain", POST=twins.retrain),
            route(f"{twin}/file", GET=twins.export),
            route("/producers/{producer}", GET=producer, DELETE=delete_producer),
            route("/datasets/{producer}", GET=dataset),
        ]
    )
