"""A row of the table of routes, as the OpenAPI document needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

REQUEST_ID = "^[A-Za-z0-9._-]{1,64}$"


@dataclass(frozen=True)
class Query:
    """A parameter of the query, or of the headers. `schema` is its JSON schema."""

    name: str
    about: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False
    where: Literal["query", "header"] = "query"


@dataclass(frozen=True)
class Operation:
    """A route.

    Attributes:
        path: with its parameters in braces.
        body: the JSON that it takes, with an example of it.
        form: the fields of its multipart form beside `file`.
        answer: the JSON that it answers with 200, with an example; several models are alternatives.
        files: the media types of the bytes that it answers, instead of JSON or where `Accept` asks for them.
        errors: the statuses that are this route's own; those of every route are added.
        writes: it wants the password where one is set.
    """

    method: str
    path: str
    tag: str
    summary: str
    body: type[BaseModel] | None = None
    body_example: Mapping[str, Any] | None = None
    body_required: bool = True
    form: type[BaseModel] | None = None
    query: tuple[Query, ...] = ()
    answer: tuple[type[BaseModel], ...] = ()
    answer_example: Mapping[str, Any] | None = None
    files: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()
    writes: bool = False
