"""The OpenAPI document, made of the contract's models and of the table of operations.

It takes the place of BentoML's own at /docs.json, which knows neither the plain routes nor the one shape of errors.
`python -m api.openapi.document` prints it, for clients that are generated from it.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.openapi.fields import FIELDS
from api.openapi.operation import REQUEST_ID, Operation
from api.openapi.operations import OPERATIONS
from contract import ID_PATTERN, ID_RULE, ErrorAnswer

_REFUSALS = {
    400: "A field is missing, unknown or wrong; nothing was written",
    401: "The API key or the password is missing or wrong",
    403: "This API key is not for it",
    404: "There is no such thing",
    408: "The body came too slowly",
    409: "It is in the way of something that exists, or of its state",
    413: "The body, the file or the track is too large",
    415: "The content type is another",
    429: "Too many at once; Retry-After says when to try again",
    500: "The service's own fault",
    503: "Not able to now; Retry-After says when to try again",
    504: "It took too long",
    507: "Storage is full, or holds as much of the producer as it may",
}
# From whatever layer, so that every route may answer them.
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
        "schema": {"type": "string", "pattern": REQUEST_ID},
        "description": "The x-request-id that the request was sent with, by the same API key",
    },
    "name": {"schema": {"type": "string"}, "description": "As a job's record names it"},
    "path": {"schema": {"type": "string"}, "description": "What follows /data/outputs/ in an output_path"},
}
_ABOUT = (
    "A producer's beats become a LoRA adapter, the producer's twin; a prompt becomes a track in its style. Field names "
    'are taken in camelCase as well. null means the same as leaving a field out. Every error is {"error": sentence}.'
)

Json = dict[str, Any]


@lru_cache(maxsize=1)
def document() -> Json:
    """As /docs.json answers it."""
    schemas, components = _schemas()
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Producer Twin", "version": "1", "description": _ABOUT, "license": {"name": "MIT"}},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {str(status): _refusal(about) for status, about in _REFUSALS.items()},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key, where the service has any"},
                "password": {"type": "apiKey", "in": "header", "name": "x-train-password"},
            },
        },
    }


def _schemas() -> tuple[dict[Any, Json], Json]:
    """A reference to each model's schema, and the schemas by their names."""
    sent = {model for each in OPERATIONS for model in (each.body, each.form) if model}
    answered = {model for each in OPERATIONS for model in each.answer} | {ErrorAnswer}
    inputs: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = []
    inputs += [(model, "validation") for model in sorted(sent, key=lambda model: model.__name__)]
    inputs += [(model, "serialization") for model in sorted(answered, key=lambda model: model.__name__)]
    references, definitions = models_json_schema(inputs, ref_template="#/components/schemas/{model}")
    by_model = {model: reference for (model, _), reference in references.items()}
    schemas = {name: _plain(schema) for name, schema in sorted(definitions["$defs"].items())}
    for name, fields in FIELDS.items():
        properties = schemas[name]["properties"]
        schemas[name]["properties"] = {field: properties[field] | {"description": fields[field]} for field in fields}
    for operation in OPERATIONS:
        if operation.form:  # its file comes on top: the fields alone are not all there is
            schemas[operation.form.__name__].pop("additionalProperties", None)
    return by_model, schemas


def _plain(schema: Any) -> Any:
    """Without the titles that repeat names, and the nulls of fields that may be left out."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {field: _plain(of) for field, of in value.items()} if name == "properties" else _plain(value)
        for name, value in schema.items()
        if not (name == "title" and isinstance(value, str)) and not (name == "default" and value is None)
    }


def _operation(operation: Operation, schemas: dict[Any, Json]) -> Json:
    parameters = [
        {"name": name, "in": "path", "required": True} | _PARAMETERS[name]
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    for query in operation.query:
        parameters.append(
            {
                "name": query.name,
                "in": query.where,
                "required": query.required,
                "description": query.about,
                "schema": dict(query.schema),
            }
        )
    slow = (408,) if operation.body or operation.form else ()
    errors = sorted({*operation.errors, *_EVERYWHERE, *slow})
    made: Json = {
        "operationId": _name(operation),
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": {"200": _answer(operation, schemas)}
        | {str(status): {"$ref": f"#/components/responses/{status}"} for status in errors},
    }
    if parameters:
        made["parameters"] = parameters
    if operation.body:
        content = {"schema": schemas[operation.body], "example": operation.body_example}
        made["requestBody"] = {"required": operation.body_required, "content": {"application/json": content}}
    if operation.form:
        file = {"type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}}}
        content = {"schema": {"allOf": [schemas[operation.form], file]}}
        made["requestBody"] = {"required": True, "content": {"multipart/form-data": content}}
    # Without either where none is set.
    made["security"] = (
        [{}, {"key": []}, {"password": []}, {"key": [], "password": []}] if operation.writes else [{}, {"key": []}]
    )
    return made


def _answer(operation: Operation, schemas: dict[Any, Json]) -> Json:
    content: Json = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in operation.files}
    alternatives = [schemas[model] for model in operation.answer]
    if alternatives:
        schema = alternatives[0] if len(alternatives) == 1 else {"oneOf": alternatives}
        content = {"application/json": {"schema": schema, "example": operation.answer_example}} | content
    return {"description": operation.summary, "content": content}


def _refusal(about: str) -> Json:
    content = {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}
    return {"description": about, "content": {"application/json": content}}


def _name(operation: Operation) -> str:
    words = re.findall(r"[A-Za-z]+", operation.path)
    return "_".join([operation.method.lower(), *words])


if __name__ == "__main__":
    print(json.dumps(document(), indent=1, ensure_ascii=False))
