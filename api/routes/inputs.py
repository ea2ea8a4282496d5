"""Parses a request as its route says, and checks that the principal may see the producer, job or twin of its path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.alias_generators import to_camel
from starlette.requests import ClientDisconnect, Request

from api.capacity.thread_pools import to_record_thread
from api.routes.forms import content_type, form_fields, received_form
from api.routes.handler import Front, Inputs
from api.routes.route import Route
from contract import ID_RULE, is_id
from contract.validation import invalid, validated
from core import principal
from core.errors import Refusal
from core.text import shown
from training.jobs.record import JobRecord
from training.jobs.store import Jobs, no_job

T = TypeVar("T", bound=BaseModel)


@asynccontextmanager
async def parsed_inputs(
    front: Front, route: Route, path: Mapping[str, str], request: Request
) -> AsyncIterator[Inputs[Any]]:
    """The handler's inputs; a form's files are open for as long as the block lasts.

    Args:
        path: the parameters of the path.

    Raises:
        Refusal: 400, 404, 415, 507; 500 or 503 if the job's record cannot be read.
    """
    await _check_owner(front, route, path)
    record = await _job(front.jobs, path["job_id"], route) if "job_id" in path else None
    query = _query(route, request.query_params)
    form = route.form or route.body
    if form and route.takes_form(content_type(request.headers)):
        async with received_form(request, route) as (fields, files):
            body: BaseModel | None = validated(form, fields)
            yield Inputs(path, query, request.headers, body, files, record, base_url(request))
    else:
        body = await _body(route, request)
        yield Inputs(path, query, request.headers, body, record=record, base_url=base_url(request))


def base_url(request: Request) -> str:
    """The URL by which the client reached the service, with a slash at its end, also through proxies that end TLS."""
    # Each proxy may add the scheme that it sees; the first one is the client's.
    scheme = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    url = request.base_url
    return str(url.replace(scheme=scheme) if scheme in ("http", "https") else url)


async def _body(route: Route, request: Request) -> BaseModel | None:
    """The body as the route's model; None if the route has no body."""
    if route.body is None:
        return None
    if route.accepts_forms and (fields := await form_fields(request)) is not None:
        return validated(route.body, fields)
    return await json_body(request, route.body)


async def json_body(request: Request, model: type[T]) -> T:
    """The JSON body as the model; an empty body counts as an empty object.

    Raises:
        Refusal: 400.
    """
    try:
        return model.model_validate_json(await request.body() or b"{}")
    except ClientDisconnect:
        # A body over the limit ends like this as well; api.middleware.body_limits then answers in our place.
        raise Refusal(400, "the body ended too early") from None
    except ValidationError as error:
        raise invalid(error) from None


async def _check_owner(front: Front, route: Route, path: Mapping[str, str]) -> None:
    """Raise Refusal (404) unless the principal may see the producer or the twin that the path names."""
    if (producer := path.get("producer_id")) is not None:
        if route.takes == "any" and not is_id(producer):
            raise Refusal(400, f"producer_id: it must be {ID_RULE}")
        if not is_id(producer) or (route.takes != "any" and not principal.sees(producer)):
            raise Refusal(404, f"producer_id: nothing is stored for {shown(producer)}")
    if (lora_id := path.get("lora_id")) is not None:
        owner, _, model = lora_id.partition(":")
        if not is_id(owner) or not is_id(model) or not await _may_see_twin(front, route, lora_id):
            raise Refusal(404, f"lora_id: there is no twin {shown(lora_id)}")


async def _may_see_twin(front: Front, route: Route, lora_id: str) -> bool:
    if principal.sees(lora_id.partition(":")[0]):
        return True
    if route.takes != "open" or front.sign_in is None:
        return False
    return await to_record_thread(front.producers.is_open, lora_id, principal.current().links)


async def _job(jobs: Jobs, job_id: str, route: Route) -> JobRecord | None:
    """The job with this id, which may be its task's. Another producer's job is answered as if it did not exist."""
    if route.accepts_damaged_job and principal.current().producers is None:
        return None
    record = await to_record_thread(jobs.get, job_id)
    if not principal.sees(record.producer_id):
        raise no_job(job_id)
    return record


def _query(route: Route, sent: Mapping[str, str]) -> dict[str, str]:
    """The query parameters by their snake_case names. An unknown one is refused, since it would have no effect."""
    declared = {parameter.name: parameter for parameter in route.parameters if parameter.location == "query"}
    if not declared:
        return {}
    names = {spelling: name for name in declared for spelling in (name, to_camel(name))}
    unknown = [name for name in sent if name not in names]
    if unknown and not route.allows_other_query:
        raise Refusal(400, f"{shown(unknown[0])}: it is not a known field; use {' or '.join(declared)}")
    values = {names[name]: value for name, value in sent.items() if name in names}
    for name, parameter in declared.items():
        value = values.get(name)
        if value is None and parameter.required:
            raise Refusal(400, f"{name}: it is missing; send it")
        if value is not None and value not in parameter.schema.get("enum", (value,)):
            raise Refusal(400, f"{name}: use one of {', '.join(parameter.schema['enum'])}")
    if "producer_id" in values and not is_id(values["producer_id"]):
        raise Refusal(400, f"producer_id: {shown(values['producer_id'])} is not a producer's id")
    return values
