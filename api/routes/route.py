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

# An API key needs one of the scopes of a route.
ANY_SCOPE: frozenset[Scope] = frozenset(SCOPES)
GENERATE: frozenset[Scope] = frozenset({"generate", "admin"})
TRAIN: frozenset[Scope] = frozenset({"train", "admin"})
ADMIN: frozenset[Scope] = frozenset({"admin"})

REQUEST_ID_PATTERN = "^[A-Za-z0-9._-]{1,64}$"


@dataclass(frozen=True)
class Parameter:
    """A query parameter or a header.

    Attributes:
        schema: its JSON schema. A value outside an `enum` is refused.
    """

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False
    location: Literal["query", "header"] = "query"


@dataclass(frozen=True, eq=False)
class Route:
    """One method of one path: what it takes and answers, who may use it, and how middleware treats it.

    Attributes:
        method: a GET route answers HEAD as well.
        path: a template with parameters in braces. `{path}` may hold slashes; `{producer_id}`, `{job_id}` and
            `{lora_id}` are checked, also for whether the principal may see them, before the handler is called.
        tag: its section of the OpenAPI document: `producers`, `artists`, `twins` or `operators`.
        summary: one line, for the OpenAPI document.
        scopes: an API key needs one of them; None means that no key is needed.
        handler: the function that answers; None where BentoML serves the route.
        body: the JSON body, with an example of it.
        form: the fields of a multipart form, beside its files.
        form_files: the fields of its files.
        form_files_required: each of these must have a file.
        parameters: the query parameters and headers that it reads.
        allows_other_query: unknown query parameters are ignored; by default they are refused.
        answer: the models of the JSON answer (200); several are alternatives. The example is of the first.
        files: the media types of an answer that is not JSON.
        errors: its own error statuses. Those of every route, and those that follow from its body (400, 408, 413, 415),
            query (400) and path parameters (404), are added.
        writes: it changes stored objects or belongs to a training, so that it needs the password if one is set.
        accepts_damaged_job: a principal that sees every producer may name a job whose record is damaged.
        spooled: a large JSON body is written to disk as it arrives.
        cancelled_on_disconnect: its work is cancelled when the client disconnects.
        stream: its answer may take long, and takes a slot for streams.
        quiet: it is left out of the access log, since monitoring calls it every few seconds.
        challenge: the value of `WWW-Authenticate` in a 401.
        web_app: the web app forwards requests to it, with its own API key.
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
    form_files: tuple[str, ...] = ("file",)
    form_files_required: bool = True
    parameters: tuple[Parameter, ...] = ()
    allows_other_query: bool = False
    answer: tuple[type[BaseModel], ...] = ()
    answer_example: Mapping[str, Any] | None = None
    files: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()
    writes: bool = False
    accepts_damaged_job: bool = False
    spooled: bool = False
    cancelled_on_disconnect: bool = False
    stream: bool = False
    quiet: bool = False
    challenge: str = "Bearer"
    web_app: bool = False
    documented: bool = True

    @property
    def label(self) -> str:
        """The path up to its first parameter: metrics must not have values that clients choose."""
        return self.path.partition("/{")[0]


OF_PRODUCER = Parameter("producer_id", "List this producer's only.", {"type": "string", "pattern": ID_PATTERN})
