"""The routes that only read or delete; those that take a body are BentoML's own (service.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from pydantic.alias_generators import to_camel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contract import STATES, JobAnswer, LoraAnswer, State, is_id
from edge.errors import or_error
from errors import Refusal
from front.runners import Runners
from models.adapter_file import Header
from models.library import Library, Twin
from preprocessing import view
from runners import TABLE
from settings import Settings
from storage import Storage, keys
from training.jobs import Jobs


class Front(Protocol):
    """What the routes need of the front service."""

    runners: Runners
    jobs: Jobs
    library: Library
    storage: Storage
    settings: Settings


Handler = Callable[[Front, Request], Awaitable[Response]]


async def backends(front: Front, request: Request) -> Response:
    return _json({"backends": [row.model_dump(mode="json") for row in await front.runners.describe()]})


async def list_jobs(front: Front, request: Request) -> Response:
    query = _query(request, "producer_id", "state")
    producer, state = _producer(query), query.get("state")
    if state is not None and state not in STATES:
        raise Refusal(400, f"state: use one of {', '.join(STATES)}")

    def collect() -> list[JobAnswer]:
        return [front.jobs.answer(record) for record in front.jobs.all(producer, cast("State | None", state))]

    return _json({"jobs": [job.model_dump(mode="json") for job in await asyncio.to_thread(collect)]})


async def job(front: Front, request: Request) -> Response:
    def read() -> JobAnswer:
        return front.jobs.answer(front.jobs.get(request.path_params["id"]))

    return _json((await asyncio.to_thread(read)).model_dump(mode="json"))


async def list_loras(front: Front, request: Request) -> Response:
    twins = await asyncio.to_thread(list, front.library.all(_producer(_query(request, "producer_id"))))
    return _json({"loras": [(await _lora(front, twin)).model_dump(mode="json") for twin in twins]})


async def lora(front: Front, request: Request) -> Response:
    twins = await asyncio.to_thread(front.library.find, _lora_id(request))
    return _json((await _lora(front, twins[0])).model_dump(mode="json"))


async def delete_lora(front: Front, request: Request) -> Response:
    lora_id = _lora_id(request)
    await asyncio.to_thread(front.library.delete, lora_id)
    return _json({"lora_id": lora_id, "deleted": True})


async def dataset(front: Front, request: Request) -> Response:
    producer = request.path_params["producer"]
    record = await asyncio.to_thread(view.newest, front.storage, producer) if is_id(producer) else None
    if record is None:
        raise Refusal(404, f"producer_id: {keys.shown(producer)} has no dataset yet; train first")
    return Response(record, media_type="application/json")


async def _lora(front: Front, twin: Twin) -> LoraAnswer:
    header = twin.header
    reason = await _why_not(front, header)
    return LoraAnswer(
        lora_id=header.lora_id,
        producer_id=header.producer_id,
        model_name=header.model_name,
        backend=header.backend,
        version=header.version,
        rank=header.rank,
        base=header.base,
        usable=reason is None,
        reason=reason,
        created_at=header.created_at,  # type: ignore[arg-type]
        bytes=twin.size,
        sha256=header.sha256,
    )


async def _why_not(front: Front, header: Header) -> str | None:
    """What keeps a twin from being used just now; None if nothing does."""
    backend = TABLE.enabled(front.settings).get(header.backend)
    if backend is None:
        return f"{header.backend} is not served here"
    state = await front.runners.state(backend)
    if not state.ready:
        return f"{header.backend} cannot serve: {state.reason}"
    if state.base_sha256 != header.base_sha256:
        return f"it was trained on {header.base} as it was then; {state.checkpoint} is served now: train it again"
    return None


def _query(request: Request, *known: str) -> dict[str, str]:
    """The query by the contract's names, in either spelling. A filter that is not known would do nothing."""
    names = {spelling: name for name in known for spelling in (name, to_camel(name))}
    for sent in request.query_params:
        if sent not in names:
            raise Refusal(400, f"{keys.shown(sent)}: it is not a known field; use {' or '.join(known)}")
    return {names[sent]: value for sent, value in request.query_params.items()}


def _producer(query: dict[str, str]) -> str | None:
    producer = query.get("producer_id")
    if producer is not None and not is_id(producer):
        raise Refusal(400, f"producer_id: {keys.shown(producer)} is not a producer's id")
    return producer


def _lora_id(request: Request) -> str:
    producer, model = request.path_params["producer"], request.path_params["model"]
    lora_id = f"{producer}:{model}"
    if not is_id(producer) or not is_id(model):
        raise Refusal(404, f"lora_id: there is no twin {keys.shown(lora_id)}")
    return lora_id


def _json(content: dict[str, object]) -> Response:
    return JSONResponse(content)


def application(front: Callable[[], Front]) -> Starlette:
    """The routes, over the front service of this process."""

    def route(path: str, get: Handler, delete: Handler | None = None) -> Route:
        async def endpoint(request: Request) -> Response:
            handler = delete if delete and request.method == "DELETE" else get
            return await or_error(handler(front(), request))

        return Route(path, endpoint, methods=["GET", "DELETE"] if delete else ["GET"], name=get.__name__)

    return Starlette(
        routes=[
            route("/backends", backends),
            route("/jobs", list_jobs),
            route("/jobs/{id}", job),
            route("/loras", list_loras),
            route("/loras/{producer}:{model}", lora, delete_lora),
            route("/datasets/{producer}", dataset),
        ]
    )
