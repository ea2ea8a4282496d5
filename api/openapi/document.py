"""The OpenAPI document, made from the contract's models and the route table.

It replaces BentoML's own document at /docs.json, which lacks the routes that have a handler here and the format of
errors. `python -m api.openapi.document` prints it; clients are generated from that.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.openapi.fields import FIELDS
from api.routes.route import REQUEST_ID_PATTERN, Route
from api.routes.table import ROUTES
from contract import ID_PATTERN, ID_RULE, ErrorAnswer

_REFUSALS = {
    400: "A field is missing, unknown or wrong; nothing was written",
    401: "The API key, the token or the password is missing or wrong",
    403: "The API key or the user lacks a right, or is for other producers",
    404: "It does not exist, or the client may not see it",
    408: "The body came too slowly",
    409: "It conflicts with something that exists, or with its state",
    413: "The body, the file or the track is too large",
    415: "The content type is wrong",
    422: "The Idempotency-Key was sent with another request before",
    429: "Too many requests; Retry-After says when to try again",
    500: "An error of the service",
    503: "Not available now; Retry-After says when to try again",
    504: "No answer in time",
    507: "Storage is full, or the producer's quota is used up",
}
# Middleware and storage may answer these for every route.
_EVERYWHERE = (401, 403, 429, 500, 503, 504)
_PARAMETERS: dict[str, dict[str, Any]] = {
    "job_id": {
        "schema": {"type": "string", "pattern": ID_PATTERN},
        "description": f"A job's or a task's id: {ID_RULE}",
    },
    "producer_id": {"schema": {"type": "string", "pattern": ID_PATTERN}, "description": ID_RULE},
    "lora_id": {
        "schema": {"type": "string", "pattern": f"{ID_PATTERN[:-1]}:{ID_PATTERN[1:]}"},
        "description": f"producer_id:model_name, each {ID_RULE}",
    },
    "request_id": {
        "schema": {"type": "string", "pattern": REQUEST_ID_PATTERN},
        "description": "The x-request-id of the request, which the same API key sent",
    },
    "track_id": {
        "schema": {"type": "string"},
        "description": "The output_path after /data/outputs/, without the extension, and with colons for the slashes",
    },
    "name": {"schema": {"type": "string"}, "description": "As in the job's record"},
    "path": {"schema": {"type": "string"}, "description": "The part of an output_path after /data/outputs/"},
}
_IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Such as a UUID. The same request with the same key is answered as before, and makes nothing again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
_ABOUT = (
    "A producer's beats become a LoRA adapter, the producer's twin; a prompt becomes a track in its style. Field names "
    "may be written in camelCase as well. null means the same as leaving a field out. A POST that makes something may "
    "have the header Idempotency-Key: sent again with it within a day, it is answered as before and makes nothing. "
    'Every error is {"error": sentence}.'
)

Json = dict[str, Any]
DOCUMENTED = tuple(route for route in ROUTES if route.documented)


@lru_cache(maxsize=1)
def document() -> Json:
    """The document, as /docs.json answers it."""
    schemas, components = _schemas()
    paths: dict[str, Json] = {}
    for route in DOCUMENTED:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Producer Twin", "version": "1", "description": _ABOUT, "license": {"name": "MIT"}},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {str(status): _refusal(about) for status, about in _REFUSALS.items()},
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, if the service has any, or the token of a signed-in user",
                },
                "password": {"type": "apiKey", "in": "header", "name": "x-train-password"},
            },
        },
    }


def _schemas() -> tuple[dict[Any, Json], Json]:
    """A reference to each model's schema, and the schemas by their names."""
    sent = {model for each in DOCUMENTED for model in (each.body, each.form) if model}
    answered = {model for each in DOCUMENTED for model in each.answer} | {ErrorAnswer}
    inputs: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = []
    inputs += [(model, "validation") for model in sorted(sent, key=lambda model: model.__name__)]
    inputs += [(model, "serialization") for model in sorted(answered, key=lambda model: model.__name__)]
    references, definitions = models_json_schema(inputs, ref_template="#/components/schemas/{model}")
    by_model = {model: reference for (model, _), reference in references.items()}
    schemas = {name: _plain(schema) for name, schema in sorted(definitions["$defs"].items())}
    for name, fields in FIELDS.items():
        properties = schemas[name]["properties"]
        schemas[name]["properties"] = {field: properties[field] | {"description": fields[field]} for field in fields}
    for route in DOCUMENTED:
        if route.form:  # `allOf` adds its file, which the schema of the fields must not forbid
            schemas[route.form.__name__].pop("additionalProperties", None)
    return by_model, schemas


def _plain(schema: Any) -> Any:
    """The schema without titles, which repeat the names, and without `"default": null`."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {field: _plain(of) for field, of in value.items()} if name == "properties" else _plain(value)
        for name, value in schema.items()
        if not (name == "title" and isinstance(value, str)) and not (name == "default" and value is None)
    }


def _operation(route: Route, schemas: dict[Any, Json]) -> Json:
    parameters = [
        {"name": name, "in": "path", "required": True} | _PARAMETERS[name]
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    for parameter in route.parameters:
        parameters.append(
            {
                "name": parameter.name,
                "in": parameter.location,
                "required": parameter.required,
                "description": parameter.description,
                "schema": dict(parameter.schema),
            }
        )
    if route.makes:
        parameters.append(_IDEMPOTENCY_KEY)
    operation: Json = {
        "operationId": _name(route),
        "tags": [route.tag],
        "summary": route.summary,
        "responses": {"200": _answer(route, schemas)}
        | {str(status): {"$ref": f"#/components/responses/{status}"} for status in _errors(route)},
    }
    if parameters:
        operation["parameters"] = parameters
    if route.body:
        content = {"schema": schemas[route.body], "example": route.body_example}
        operation["requestBody"] = {"required": route.body_required, "content": {"application/json": content}}
    if route.form:
        content = {"schema": {"allOf": [schemas[route.form], _files(route)]}}
        operation["requestBody"] = {"required": True, "content": {"multipart/form-data": content}}
    # `{}`: neither is needed where the service has no keys, or no password.
    operation["security"] = (
        [{}, {"key": []}, {"password": []}, {"key": [], "password": []}] if route.writes else [{}, {"key": []}]
    )
    return operation


def _files(route: Route) -> Json:
    """The files of the route's form."""
    files: Json = {name: {"type": "string", "format": "binary"} for name in route.form_files}
    required = {"required": list(route.form_files)} if route.form_files_required else {}
    return {"type": "object"} | required | {"properties": files}


def _errors(route: Route) -> list[int]:
    """The error statuses of the route, of its kind of input, and of every route."""
    errors = {*route.errors, *_EVERYWHERE}
    if route.body or route.form:
        errors |= {400, 408, 413, 415}
    if any(parameter.location == "query" for parameter in route.parameters):
        errors.add(400)
    if "{" in route.path:
        errors.add(404)
    if route.makes:
        errors |= {409, 422}
    return sorted(errors)


def _answer(route: Route, schemas: dict[Any, Json]) -> Json:
    content: Json = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in route.files}
    alternatives = [schemas[model] for model in route.answer]
    if alternatives:
        schema = alternatives[0] if len(alternatives) == 1 else {"oneOf": alternatives}
        content = {"application/json": {"schema": schema, "example": route.answer_example}} | content
    return {"description": route.summary, "content": content}


def _refusal(about: str) -> Json:
    content = {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}
    return {"description": about, "content": {"application/json": content}}


def _name(route: Route) -> str:
    words = re.findall(r"[A-Za-z]+", route.path)
    return "_".join([route.method.lower(), *words])


if __name__ == "__main__":
    print(json.dumps(document(), indent=1, ensure_ascii=False))
