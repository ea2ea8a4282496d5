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

MULTIPART = "multipart/form-data"
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
        takes: which producer or twin the path may name: the principal's `own`; also a twin that is `open` to it; or
            `any`, which the handler checks.
        tag: its section of the OpenAPI document: `producers`, `artists`, `twins` or `operators`.
        summary: one line, for the OpenAPI document.
        scopes: an API key needs one of them; None means that no key is needed.
        handler: the function that answers; None where BentoML serves the route.
        body: the JSON body, with an example of it.
        accepts_forms: the body's fields may come as a form instead; one of multipart/form-data may have `form_files`.
        token_in_body: the body's field `ai_token` may hold the API key.
        form: the fields of a multipart form, beside its files.
        form_files: the fields of a form's files.
        form_files_required: each of these must have a file.
        parameters: the query parameters and headers that it reads.
        allows_other_query: unknown query parameters are ignored; by default they are refused.
        answer: the models of the JSON answer (200); several are alternatives. The example is of the first.
        files: the media types of an answer that is not JSON.
        error_field: the field of an error's sentence in the JSON answer.
        errors: its own error statuses. Those of every route, and those that follow from its body (400, 408, 413, 415),
            query (400) and path parameters (404), are added.
        writes: it changes stored objects, belongs to a training, or lists what others made, so that it needs the
            password if one is set.
        accepts_damaged_job: a principal that sees every producer may name a job whose record is damaged.
        spooled: a large JSON body is written to disk as it arrives.
        cancelled_on_disconnect: its work is cancelled when the client disconnects.
        stream: its answer may take long, and takes a slot for streams.
        quiet: it is left out of the access log, since monitoring calls it every few seconds.
        challenge: the value of `WWW-Authenticate` in a 401.
        sign_in: it exists only where users can sign in.
        web_app: the web app forwards requests to it, with the user's token, or its own API key if there is no sign-in.
        makes: it makes something, and takes an Idempotency-Key (see api.middleware.idempotency).
        documented: it is in the OpenAPI document.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    tag: str
    summary: str
    scopes: frozenset[Scope] | None
    handler: Handler | None = None
    takes: Literal["own", "open", "any"] = "own"
    body: type[BaseModel] | None = None
    body_example: Mapping[str, Any] | None = None
    body_required: bool = True
    accepts_forms: bool = False
    token_in_body: bool = False
    form: type[BaseModel] | None = None
    form_files: tuple[str, ...] = ()
    form_files_required: bool = True
    parameters: tuple[Parameter, ...] = ()
    allows_other_query: bool = False
    answer: tuple[type[BaseModel], ...] = ()
    answer_example: Mapping[str, Any] | None = None
    files: tuple[str, ...] = ()
    error_field: str = "error"
    errors: tuple[int, ...] = ()
    writes: bool = False
    accepts_damaged_job: bool = False
    spooled: bool = False
    cancelled_on_disconnect: bool = False
    stream: bool = False
    quiet: bool = False
    challenge: str = "Bearer"
    sign_in: bool = False
    web_app: bool = False
    makes: bool = False
    documented: bool = True

    def takes_form(self, content_type: str) -> bool:
        """Whether a body of this type is a form that may have files, which are written to disk as they arrive."""
        is_multipart = content_type == MULTIPART
        return self.form is not None or (self.accepts_forms and bool(self.form_files) and is_multipart)

    @property
    def label(self) -> str:
        """The path up to its first parameter: metrics must not have values that clients choose."""
        return self.path.partition("/{")[0]


TWIN_LINK = Parameter(
    "x-twin-link",
    "The secrets of twins that their owners share by link, separated by commas.",
    location="header",
)
OF_PRODUCER = Parameter("producer_id", "List this producer's only.", {"type": "string", "pattern": ID_PATTERN})
