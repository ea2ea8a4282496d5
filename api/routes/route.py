"""`Route`: a row of the route table (api.routes.table), and all that the service knows about one route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from contract import ID_PATTERN
from core.principal import SCOPES, Scope

if TYPE_CHECKING:
    from api.routes.handler import Handler

# Of the scopes of a route, an API key must have one.
ANY_SCOPE: frozenset[Scope] = frozenset(SCOPES)
GENERATE: frozenset[Scope] = frozenset({"generate", "admin"})
TRAIN: frozenset[Scope] = frozenset({"train", "admin"})
ADMIN: frozenset[Scope] = frozenset({"admin"})

REQUEST_ID_PATTERN = "^[A-Za-z0-9._-]{1,64}$"


@dataclass(frozen=True)
class Query:
    """A parameter of the query, or a header.

    Attributes:
        schema: its JSON schema. A value outside an `enum` is refused.
    """

    name: str
    about: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False
    where: Literal["query", "header"] = "query"


@dataclass(frozen=True, eq=False)
class Route:
    """One method of one path: what it takes and answers, who may use it, and how middleware treats it.

    Attributes:
        method: a GET route answers HEAD as well.
        path: a template with parameters in braces. `{path}` may hold slashes; `{producer_id}`, `{job_id}` and
            `{lora_id}` are checked, also for whether the principal may see them, before the handler is called.
        tag: the reader it is for, in the OpenAPI document.
        summary: one line, for the OpenAPI document.
        scopes: an API key needs one of them; None means that no key is needed.
        handler: what answers; None where BentoML serves the route.
        body: the JSON body, with an example of it.
        form: the fields of a multipart form, beside its `file`.
        other_query: parameters of the query that are not in `query` are ignored instead of refused.
        answer: the JSON answered with 200, with an example of the first; several models are alternatives.
        files: media types of the bytes that are answered instead of JSON, or where `Accept` asks for them.
        errors: its error statuses, without those of every route, and those that follow from a body (400, 408, 413,
            415), from a query (400), and from a parameter of the path (404).
        writes: it needs the password where one is set, since it changes what is stored, or serves a training.
        damaged_job: who sees every producer may name a job whose record is damaged.
        spooled: a large JSON body goes to disk as it comes.
        cancelled_on_disconnect: the work ends when the client goes away.
        stream: the answer may last for long: it takes a slot of the streams.
        quiet: not in the access log, since monitoring asks every few seconds.
        challenge: `WWW-Authenticate` of a 401.
        web_app: the web app passes requests on to it, with its own API key.
        documented: it is in the OpenAPI document.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    tag: str
    summary: str
    scopes: frozenset[Scope] | None
    handler: Handler | None = None
    body: type[BaseModel] | None = None
    body_example: Mapping[str, Any] | None = None
    body_required: bool = True
    form: type[BaseModel] | None = None
    query: tuple[Query, ...] = ()
    other_query: bool = False
    answer: tuple[type[BaseModel], ...] = ()
    answer_example: Mapping[str, Any] | None = None
    files: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()
    writes: bool = False
    damaged_job: bool = False
    spooled: bool = False
    cancelled_on_disconnect: bool = False
    stream: bool = False
    quiet: bool = False
    challenge: str = "Bearer"
    web_app: bool = False
    documented: bool = True

    @property
    def label(self) -> str:
        """The path up to its first parameter, for metrics: no client's words."""
        return self.path.partition("/{")[0]


OF_PRODUCER = Query("producer_id", "List this producer's only.", {"type": "string", "pattern": ID_PATTERN})
