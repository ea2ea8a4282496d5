"""The exceptions of the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from producer_twin.models import JobAnswer


class ProducerTwinError(Exception):
    """Base class of the client's exceptions."""


class ApiError(ProducerTwinError):
    """The service refused the request.

    Attributes:
        status: the HTTP status.
        message: the service's sentence, which names the field and the remedy.
        retry_after: the seconds after which the service may be asked again, if it said so.
        request_id: the id under which the service's log has the request.
    """

    def __init__(self, status: int, message: str, retry_after: float | None = None, request_id: str | None = None):
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.request_id = request_id


class Unreachable(ProducerTwinError):
    """The service could not be reached, or the connection to it was lost."""


class JobFailed(ProducerTwinError):
    """A training ended without a twin, or was cancelled.

    Attributes:
        job: its record.
    """

    def __init__(self, job: JobAnswer):
        super().__init__(f"job {job.job_id} {job.state}" + (f": {job.error}" if job.error else ""))
        self.job = job


class TrackFailed(ProducerTwinError):
    """A submitted track was not made, or was cancelled.

    Attributes:
        track_id: its id.
    """

    def __init__(self, track_id: str, error: str | None):
        super().__init__(f"track {track_id} " + (f"failed: {error}" if error else "was cancelled"))
        self.track_id = track_id
