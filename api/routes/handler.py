"""The interface of a route's handler: the front service and the request's inputs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel
from starlette.datastructures import Headers, UploadFile
from starlette.responses import Response

from adapters.library import Library
from api.acestep.tasks import AceStepTasks
from api.auth.sign_in import SignIn
from api.routes.overview import Overview
from core.settings import Settings
from generation.outbox import Outbox
from generation.pipeline import Generation
from generation.submission.submissions import Submissions
from runners.clients import Runners
from storage import Storage
from storage.producers import Producers
from training.jobs.admission import Admission
from training.jobs.record import JobRecord
from training.jobs.store import Jobs
from training.pace import Paces

Body = TypeVar("Body")


class Front(Protocol):
    """The front service, as handlers use it."""

    runners: Runners
    generation: Generation
    overview: Overview
    jobs: Jobs
    admission: Admission
    library: Library
    producers: Producers
    sign_in: SignIn | None
    outbox: Outbox
    settings: Settings
    paces: Paces
    training: Any
    acestep_tasks: AceStepTasks
    submissions: Submissions

    @property  # read-only, so that the front's may be the narrower RetryingStorage
    def storage(self) -> Storage: ...


@dataclass(frozen=True)
class Inputs(Generic[Body]):
    """A request, parsed and checked as its route says.

    Attributes:
        path: the parameters of the path.
        query: the parameters of the query that were sent, by their snake_case names.
        headers: of the request.
        body: the JSON body, or the fields of the form; None where the route takes neither.
        files: the form's files by their fields; they are closed after the handler.
        base_url: by which the client reached the service, with a slash at its end; its `Host` is the client's own.
        record: the job of `{job_id}` when the request came; None if the route has no `{job_id}`, or accepts a job whose
            record is damaged.
    """

    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Headers
    body: Body
    files: Mapping[str, Sequence[UploadFile]] = field(default_factory=dict)
    record: JobRecord | None = None
    base_url: str = ""

    @property
    def job(self) -> JobRecord:
        """The job of `{job_id}`, in a route that has one."""
        assert self.record is not None
        return self.record


Handler = Callable[[Front, Inputs[Any]], Awaitable[BaseModel | Response]]
