"""What the plain routes share: the front as they see it, and how they read a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.alias_generators import to_camel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from adapters.library import Library
from api.middleware.error_format import describe_validation
from api.routes.overview import Overview
from contract import is_id
from core import principal
from core.errors import Refusal
from core.settings import Settings
from core.text import shown
from generation.outbox import Outbox
from generation.queue_positions import QueuePositions
from runners.clients import Runners
from storage import Storage
from training.jobs.admission import Admission
from training.jobs.store import JobRecord, Jobs, no_job

T = TypeVar("T", bound=BaseModel)


class Front(Protocol):
    """What the routes need of the front service."""

    runners: Runners
    overview: Overview
    places: QueuePositions
    jobs: Jobs
    admission: Admission
    library: Library
    storage: Storage
    outbox: Outbox
    settings: Settings
    training: Any


Handler = Callable[[Front, Request], Awaitable[Response]]


def json_answer(content: BaseModel | dict[str, Any]) -> Response:
    return JSONResponse(content.model_dump(mode="json") if isinstance(content, BaseModel) else content)


def parsed(model: type[T], fields: Any) -> T:
    """The fields as the model. Raises Refusal (400), naming them."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise _invalid(error) from None


async def body(request: Request, model: type[T]) -> T:
    """The JSON body as the model; none at all is an empty one.

    Raises:
        Refusal: 400, 415.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "content-type: send application/json")
    try:
        return model.model_validate_json(await request.body() or b"{}")
    except ClientDisconnect:
        # Also how a body over the limit ends; the guard answers that.
        raise Refusal(400, "the body ended too early") from None
    except ValidationError as error:
        raise _invalid(error) from None


def query(request: Request, *known: str) -> dict[str, str]:
    """The query by the contract's names, in either spelling. A filter that is not known would do nothing."""
    names = {spelling: name for name in known for spelling in (name, to_camel(name))}
    for sent in request.query_params:
        if sent not in names:
            raise Refusal(400, f"{shown(sent)}: it is not a known field; use {' or '.join(known)}")
    return {names[sent]: value for sent, value in request.query_params.items()}


def producer_of(fields: dict[str, str]) -> str | None:
    producer = fields.get("producer_id")
    if producer is not None and not is_id(producer):
        raise Refusal(400, f"producer_id: {shown(producer)} is not a producer's id")
    return producer


def job_of(front: Front, request: Request) -> JobRecord:
    """The job of the path. One that is another producer's is not there."""
    record = front.jobs.get(request.path_params["id"])
    if not principal.sees(record.producer_id):
        raise no_job(request.path_params["id"])
    return record


def lora_id(request: Request) -> str:
    producer, model = request.path_params["producer"], request.path_params["model"]
    name = f"{producer}:{model}"
    if not is_id(producer) or not is_id(model) or not principal.sees(producer):
        raise Refusal(404, f"lora_id: there is no twin {shown(name)}")
    return name


def _invalid(error: ValidationError) -> Refusal:
    details = error.errors(include_context=False, include_input=False)
    return Refusal(400, describe_validation([dict(detail) for detail in details]))
