"""The routes behind the middleware of a service whose users sign in, without BentoML, models or a server process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
from safetensors.numpy import save
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.adapter_file import Header
from adapters.library import Library
from api.acestep.tasks import AceStepTasks
from api.auth.access import Access
from api.auth.keys import KeyRing
from api.auth.sign_in import SignIn
from api.capacity.request_limits import RequestLimits
from api.middleware.body_limits import BodyLimits
from api.middleware.routing import Routing
from api.routes import tracks
from api.routes.application import application
from api.routes.inputs import json_body
from contract import GenerateRequest
from core.asgi.responses import answer_or_error
from core.settings import Settings
from generation.outbox import Outbox
from generation.pipeline import Generation
from generation.submission.submissions import Submissions
from runners.clients import Runners
from runners.messages import RunnerState, TrackAnswer, TrackRequest
from storage import Storage, keys
from storage.process_lease import ProcessLease
from storage.producers import Producers
from tests.adapter_files import seal
from tests.issuer import AUDIENCE, Issuer
from training.jobs.store import Jobs
from training.pace import Paces

RATE = 48_000


class Silence:
    """A runner that makes silence, with any twin."""

    @property
    def to_async(self) -> Silence:
        return self

    async def describe(self) -> RunnerState:
        return RunnerState(ready=True, reason=None, checkpoint="silence", sample_rate=RATE, channels=2)

    async def generate(self, request: TrackRequest) -> TrackAnswer:
        return TrackAnswer(pcm=bytes(int(request.seconds * RATE) * 4), sample_rate=RATE, channels=2)


class SignedIn:
    """The app, and a client of it.

    Attributes:
        issuer: who signs the tokens.
        storage: where everything is.
    """

    def __init__(self, issuer: Issuer, storage: Storage, folder: Path, **changes: Any) -> None:
        self.issuer = issuer
        self.storage = storage
        settings = Settings(auth_issuer=issuer.url, auth_audience=AUDIENCE, allow_noncommercial=False, **changes)
        library, runners = Library(storage), Runners({"ace_step": Silence()}, settings)
        jobs = Jobs(storage)
        outbox = Outbox(storage, "signed-in", folder / "outbox")
        generation, lease = Generation(runners, library, outbox, settings), ProcessLease(storage)
        self.front = SimpleNamespace(
            settings=settings,
            storage=storage,
            library=library,
            producers=Producers(storage),
            sign_in=SignIn(storage, settings),
            jobs=jobs,
            paces=Paces(jobs, ["ace_step"]),
            runners=runners,
            outbox=outbox,
            generation=generation,
            acestep_tasks=AceStepTasks(storage, lease),
            submissions=Submissions(generation, storage, lease),
        )
        ring = KeyRing(storage)
        app: ASGIApp = BodyLimits(self._serve, settings)
        app = Access(app, settings, lambda: ring, RequestLimits(settings), sign_in=lambda: self.front.sign_in)
        self.app = Routing(app, sign_in=True)
        self._routes = application(lambda: self.front)  # type: ignore[arg-type, return-value]

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """BentoML serves /generate in the real service."""
        if scope["path"] != "/generate":
            await self._routes(scope, receive, send)
            return
        body = await json_body(Request(scope, receive), GenerateRequest)
        answer = await answer_or_error(tracks.generate(self.front, body, "application/json"))  # type: ignore[arg-type]
        await answer(scope, receive, send)

    def ask(self, method: str, path: str, token: str | None = None, **more: Any) -> httpx.Response:
        """Send a request; `more` are options of httpx, and `link`, the secret of a twin link."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        if link := more.pop("link", None):
            headers["x-twin-link"] = link

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                return await client.request(method, path, headers=headers, **more)

        return asyncio.run(send())

    def json(self, method: str, path: str, token: str | None = None, **more: Any) -> Any:
        """The JSON of an answer that is a 200."""
        answer = self.ask(method, path, token, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def track(self, token: str | None, lora_id: str | None, **more: Any) -> httpx.Response:
        """Generate half a second, answered as a link."""
        body = {"prompt": "x", "duration_seconds": 0.5, "response": "url", "seed": 1} | (
            {"lora_id": lora_id} if lora_id else {}
        )
        return self.ask("POST", "/generate", token, json=body, **more)


def store_twin(storage: Storage, producer: str, model: str, job: str = "job") -> None:
    """A twin without an effect, under all of its keys."""
    header = Header(producer, model, "ace_step", "x", "0" * 64, 1, job, "2026-01-01T00:00:00+00:00", "1" * 64)
    tensors = save({"base_model.model.x.lora_A.weight": np.zeros((1, 1), np.float32)}, header.to_metadata())
    data = seal(tensors)
    storage.put(keys.lora(producer, model), data)
    storage.put(keys.lora_owner(producer, model), header.lora_id.encode())
