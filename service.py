"""Producer Twin: the front service, composed from the runner table and the training service.

bentoml serve
"""

from __future__ import annotations

import asyncio
import io
from typing import Any

import bentoml
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from adapters.library import Library
from api.acestep.body_token import BodyToken
from api.acestep.tasks import AceStepTasks
from api.auth.access import Access
from api.auth.keys import KeyRing
from api.auth.sign_in import SignIn
from api.capacity.liveness import Liveness
from api.capacity.request_limits import RequestLimits
from api.capacity.thread_pools import ACCESS, RECORDS, SLOW
from api.middleware.body_limits import BodyLimits
from api.middleware.error_format import ErrorFormat
from api.middleware.idempotency import Idempotency
from api.middleware.request_log import RequestLog
from api.middleware.routing import Routing
from api.middleware.task_submission import TaskSubmission
from api.middleware.upload_spool import UploadSpool
from api.routes import tracks, training, uploads
from api.routes.application import application
from api.routes.overview import Overview
from api.routes.table import route_of
from api.server import connections, request_timeout
from api.webhooks.dispatcher import Dispatcher
from contract import (
    GenerateAnswer,
    GenerateRequest,
    StoreUploadAnswer,
    StoreUploadRequest,
    TrainAnswer,
    TrainRequest,
)
from core import logs, traces
from core.asgi.cancel_on_disconnect import CancelOnDisconnect
from core.asgi.graceful_shutdown import GracefulShutdown
from core.asgi.responses import answer_or_error
from core.configuration import service_config
from core.errors import Refusal
from core.settings import settings
from core.temporary import start_sweeping
from generation.outbox import Outbox, outbox_folder
from generation.pipeline import Generation
from generation.submission.submissions import Submissions
from preprocessing.isolation import DECODING
from runners import TABLE, stream_connections
from runners.clients import Runners
from storage import open_storage
from storage.process_lease import ProcessLease
from storage.producers import Producers
from storage.retrying import RetryingStorage
from training.jobs.admission import Admission
from training.jobs.retention import keep_clean
from training.jobs.store import Jobs
from training.pace import Paces
from training.service import Training

LIMITS = RequestLimits(settings())
# No retry begins after this time. The last try may itself take half a minute if the storage's server hangs.
_STORAGE_RETRY_SECONDS = 8.0


class Front:
    """The front service: storage, runners and training behind one HTTP contract. It never imports torch."""

    training = bentoml.depends(Training, url=settings().training_url)

    def __init__(self) -> None:
        self.settings = settings()
        logs.configure(self.settings)
        traces.configure(self.settings)
        # Uploads and admissions retry while storage is unavailable. Reads fail at once, or use a copy in memory.
        direct = open_storage(self.settings.storage_url, self.settings.s3_endpoint_url)
        DECODING.start()
        start_sweeping()
        self.storage = RetryingStorage(direct, _STORAGE_RETRY_SECONDS)
        self.key_ring = KeyRing(direct, self.settings.guest_key)
        self.producers = Producers(direct)
        self.sign_in = SignIn(direct, self.settings) if self.settings.auth_issuer else None
        self.liveness = Liveness({"slow work": SLOW, "API keys": ACCESS, "records": RECORDS})
        self.jobs = Jobs(direct)
        self.paces = Paces(self.jobs, TABLE.enabled(self.settings))
        self.library = Library(direct)
        self.admission = Admission(self.storage, self.settings)
        proxies = {name: getattr(self, _attribute(name)) for name in TABLE.enabled(self.settings)}
        self.runners = Runners(proxies, self.settings)
        self.overview = Overview()
        self.outbox = Outbox(direct, self.settings.storage_url, outbox_folder())
        keep_clean(self.storage, self.jobs, self.settings, self.outbox.delete)
        self.generation = Generation(self.runners, self.library, self.outbox, self.settings)
        self.lease = ProcessLease(direct)
        self.acestep_tasks = AceStepTasks(self.storage, self.lease)
        self.submissions = Submissions(self.generation, direct, self.lease)
        self.webhooks = Dispatcher(direct)

    @bentoml.on_startup
    async def use_own_threads(self) -> None:
        asyncio.get_running_loop().set_default_executor(SLOW)

    @bentoml.on_startup
    async def start_background_work(self) -> None:
        self.submissions.start()
        self.webhooks.start()

    @bentoml.on_shutdown
    async def leave_background_work(self) -> None:
        await self.submissions.stop()
        await self.webhooks.stop()
        await asyncio.to_thread(self.lease.close)

    async def __is_ready__(self) -> bool:
        if fault := self.liveness.fault() or LIMITS.fault():
            raise HTTPException(503, f"the service cannot serve: {fault}")
        if reason := await self.runners.why_not_ready():
            raise HTTPException(503, f"the service cannot serve: {reason}")
        return True

    @bentoml.api(route="/store-upload")
    async def store_upload(self, body: StoreUploadRequest, /) -> StoreUploadAnswer:
        """Keep an audio file for training."""
        return await answer_or_error(uploads.store(body, self.storage, self.settings))

    @bentoml.api
    async def generate(self, body: GenerateRequest, /, ctx: bentoml.Context) -> GenerateAnswer:
        """Make a track; as JSON, or as the audio itself where `Accept` asks for audio."""
        accept = ", ".join(ctx.request.headers.getlist("accept"))
        return await answer_or_error(tracks.generate(self, body, accept), ctx)

    @bentoml.task
    async def train(self, body: TrainRequest, /, ctx: bentoml.Context) -> TrainAnswer:
        """Make a twin, and answer when it is made; `/train/submit` answers at once."""
        return await answer_or_error(training.train(self, body, ctx.request), ctx)


async def _store_body(body: io.FileIO) -> Response:
    front = bentoml.get_current_service()
    stored = await answer_or_error(uploads.store_body(body, front.storage, front.settings))
    return stored if isinstance(stored, Response) else JSONResponse(stored.model_dump())


def _attribute(backend: str) -> str:
    return f"runner_{backend}"


def _compose() -> bentoml.Service[Any]:
    """The front service, with a dependency on every enabled runner and the middleware, outermost first."""
    try:
        TABLE.choose(None, settings())  # a wrong MUSIC_BACKEND fails at the start, not at a request
    except Refusal as refusal:
        raise ValueError(refusal.message) from None
    for name, backend in TABLE.enabled(settings()).items():
        setattr(Front, _attribute(name), bentoml.depends(backend.service, url=settings().runner_urls.get(name)))
    front = bentoml.asgi_app(application(bentoml.get_current_service))(Front)
    service = bentoml.service(**service_config("ProducerTwin"))(front)
    service.add_asgi_middleware(RequestLog)
    service.add_asgi_middleware(GracefulShutdown, seconds=settings().stop_seconds)
    service.add_asgi_middleware(ErrorFormat)
    service.add_asgi_middleware(Routing, sign_in=settings().auth_issuer is not None)
    service.add_asgi_middleware(BodyToken, seconds=settings().body_silence_seconds)
    cors = bool(service.config.get("http", {}).get("cors", {}).get("enabled"))
    service.add_asgi_middleware(
        Access,
        settings=settings(),
        key_ring=lambda: bentoml.get_current_service().key_ring,
        limits=LIMITS,
        cors=cors,
        sign_in=lambda: bentoml.get_current_service().sign_in,
    )
    service.add_asgi_middleware(BodyLimits, settings=settings())
    service.add_asgi_middleware(Idempotency, front=bentoml.get_current_service)
    service.add_asgi_middleware(CancelOnDisconnect, applies=lambda scope: route_of(scope).cancelled_on_disconnect)
    service.add_asgi_middleware(UploadSpool, store=_store_body)
    service.add_asgi_middleware(
        TaskSubmission,
        admission=lambda: bentoml.get_current_service().admission,
        paces=lambda: bentoml.get_current_service().paces,
    )
    return service


connections.install()
request_timeout.install()
stream_connections.install()
ProducerTwin = _compose()
