"""A runner: one loaded model, and what is asked of it."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import secrets
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Literal

import bentoml
import numpy as np

from core import logs, traces
from core.errors import Refusal
from core.settings import settings
from models import memory
from runners.messages import AdoptAnswer, AdoptRequest, PlaceAnswer, RunnerState, TrackAnswer, TrackRequest
from runners.table import Backend
from storage import open_storage

if TYPE_CHECKING:
    from adapters.foreign import Converted
    from adapters.weights import AdapterWeights
    from models.base import Model, Row, Track
    from models.checkpoints import Checkpoint
    from runners.adapter_cache import Adapters
    from runners.worker import Worker

log = logging.getLogger("producer_twin.runner")

# So long its process lives on to say that it is to be replaced.
_GRACE_SECONDS = 2.0


class Runner:
    """Loads in the background, so that it can say why it is not ready instead of not being there."""

    backend: ClassVar[str]

    def __init__(self) -> None:
        logs.configure(settings())
        traces.configure(settings())
        memory.keep()
        self._model: Model | None = None
        self._checkpoint: Checkpoint | None = None
        self._adapters: Adapters | None = None
        self._reason: str | None = "its model is being loaded"
        self._worker: Worker | None = None
        self._stages: dict[str, Literal["preparing", "finishing"]] = {}  # of those that are here but in no queue
        self._adopting = asyncio.Lock()
        self._served = False  # by a process of its own, which is replaced when it ends
        self.settled = threading.Event()  # ready, or known not to be
        threading.Thread(target=self._settle, name="load", daemon=True).start()

    @property
    def row(self) -> Backend:
        from runners import TABLE

        return TABLE.enabled(settings())[self.backend]

    @bentoml.on_startup
    def serve(self) -> None:
        self._served = True

    @bentoml.api
    async def generate(self, request: TrackRequest) -> TrackAnswer:
        """Make a track, beside all the others that are asked for."""
        if self._reason or self._adapters is None or self._worker is None:
            return TrackAnswer(error=f"{self.backend} cannot serve: {self._reason}", status=503)
        deadline = time.monotonic() + request.patience
        self._stages[request.place] = "preparing"
        try:
            try:
                self._worker.admit()
                async with self._adapters.held(request.adapters) as adapters:
                    track = await self._worker.track(self._row(request, adapters), deadline, request.place)
            except Exception as error:  # noqa: BLE001 - it is the answer
                track = error
            self._stages[request.place] = "finishing"
            return await asyncio.to_thread(self._answer, track, request)
        finally:
            self._stages.pop(request.place, None)

    @bentoml.api
    async def place(self, name: str) -> PlaceAnswer:
        """Where the row stands that `generate` was asked for under this `place`."""
        outlook = await asyncio.to_thread(self._worker.place, name) if self._worker else None
        if outlook is None:
            return PlaceAnswer(state=self._stages.get(name))
        return PlaceAnswer(
            state="making" if outlook.making else "waiting",
            ahead=outlook.ahead,
            progress=outlook.progress,
            seconds_left=outlook.seconds_left,
        )

    @bentoml.api
    async def describe(self) -> RunnerState:
        """Asynchronous, so that it answers while a batch is under way."""
        from adapters.serialization import largest_file

        return RunnerState(
            ready=self._reason is None,
            loading=not self.settled.is_set(),
            reason=self._reason,
            checkpoint=self.row.checkpoint_name(settings()),
            base_sha256=self._checkpoint.sha256 if self._checkpoint and self._model else None,
            sample_rate=self._model.sample_rate if self._model else None,
            channels=self._model.channels if self._model else None,
            largest_adapter=largest_file(self._model) if self._model else None,
        )

    @bentoml.api
    async def adopt(self, request: AdoptRequest) -> AdoptAnswer:
        """Bring an adapter from elsewhere into our form, if it fits the model. One after the other: each takes several
        times its file's memory."""
        from adapters.adapter_file import InvalidAdapter
        from models.adapter_effect import measure, probe
        from models.device import out_of_memory

        async with self._adopting:
            model, worker = self._model, self._worker
            if self._reason or model is None or worker is None or self._checkpoint is None:
                return AdoptAnswer(error=f"{self.backend} cannot check it: {self._reason}", status=503)
            try:
                adopted, relative = await asyncio.to_thread(self._adopt, request, model, self._checkpoint)
                without = await worker.run(model.response(probe([])))
                with_it = await worker.run(model.response(probe([(adopted.weights, 1.0)])))
                effect = await asyncio.to_thread(measure, relative, model, without, with_it)
            except InvalidAdapter as reason:
                return AdoptAnswer(error=str(reason), status=400)
            except Refusal as refusal:
                return AdoptAnswer(error=refusal.message, status=refusal.status)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                return AdoptAnswer(error=f"{self.backend} has no memory left to check it; try again later", status=503)
            return AdoptAnswer(data=adopted.data, notes=[*adopted.notes, *effect.notes()])

    def _adopt(self, request: AdoptRequest, model: Model, checkpoint: Checkpoint) -> tuple[Converted, float]:
        """The adapter, and how much it changes of the weights."""
        from adapters.adapter_file import Header
        from adapters.foreign import convert
        from models.adapter_effect import weight_change

        header = Header(
            producer_id=request.producer_id,
            model_name=request.model_name,
            backend=self.backend,
            base=checkpoint.name,
            base_sha256=checkpoint.sha256,
            rank=0,
            job_id="",
            created_at=datetime.now(UTC).isoformat(),
            sha256="",
        )
        adopted = convert(request.data, request.config, header, model)
        return adopted, weight_change(adopted.weights, model)

    def _settle(self) -> None:
        try:
            self._load()
        finally:
            self.settled.set()

    def _load(self) -> None:
        from models import compiled
        from models.checkpoints import CheckpointError, resolve
        from models.device import pick_device, pick_dtype
        from runners.adapter_cache import Adapters
        from runners.scheduler import Scheduler
        from runners.sweep import keep_swept
        from runners.worker import Worker

        config, row = settings(), self.row
        if not row.commercial_use:
            log.warning("%s: its public weights are licensed %s, not for commercial use", row.name, row.licence)
        try:
            device = pick_device(config.device)
            checkpoint = resolve(row.checkpoint_name(config), row.name, row.load_tiny(), config.hf_token)
            model = row.load_model_class().load(checkpoint, device, pick_dtype(config.dtype, device))
            if compiled.pays(config.compile, device):
                model.compile()
        except (CheckpointError, ValueError) as error:
            self._reason = str(error)
            log.error("%s is not ready: %s", row.name, error)
            return
        except Exception as error:
            self._reason = f"its model did not load: {error or type(error).__name__}".splitlines()[0]
            log.exception("%s is not ready", row.name)
            return
        storage = open_storage(config.storage_url, config.s3_endpoint_url)
        self._checkpoint = checkpoint
        self._adapters = Adapters(storage, model, checkpoint, backend=row.name)
        self._worker = Worker(Scheduler(model), row.name, config.hung_seconds, self._end)
        self._model, self._reason = model, None
        memory.give_back()  # what loading left
        keep_swept(storage, self._adapters)
        log.info("%s is ready: %s on %s", row.name, checkpoint.name, device)

    def _end(self, reason: str) -> None:
        """Nothing can be made in this process any more: say so for a while, then end; BentoML starts another."""
        self._reason = f"{reason}; it is being started again"
        log.critical("%s is not ready any more: %s", self.backend, reason)
        if self._served:
            faulthandler.dump_traceback()  # where each thread is
            threading.Timer(_GRACE_SECONDS, os._exit, (1,)).start()

    def _row(self, request: TrackRequest, adapters: list[AdapterWeights]) -> Row:
        from models.base import Row, Text

        strengths = [ref.strength for ref in request.adapters]
        return Row(
            text=Text(request.prompt, request.lyrics, request.bpm, request.key, request.time_signature),
            seconds=request.seconds,
            seed=request.seed,
            steps=request.steps,
            guidance=request.guidance,
            shift=request.shift,
            temperature=request.temperature,
            adapters=list(zip(adapters, strengths, strict=True)),
        )

    def _answer(self, track: Track, request: TrackRequest) -> TrackAnswer:
        from models.device import out_of_memory
        from runners.scheduler import Expired

        if isinstance(track, Refusal):
            return TrackAnswer(error=track.message, status=track.status, wait=track.wait)
        if isinstance(track, Expired):
            return TrackAnswer(
                error=f"the track was not done within {request.patience:g} s (GENERATE_TIMEOUT_SECONDS); "
                "ask for a shorter one, or later",
                status=504,
            )
        if isinstance(track, Exception) and out_of_memory(track):
            return TrackAnswer(
                error=f"duration_seconds: {request.seconds:g} s take more memory than {self.backend} has now; "
                "ask for less, or try again later",
                status=503,
            )
        if isinstance(track, FloatingPointError):
            return TrackAnswer(
                error=f"{self.backend} made values that are not finite for this track; try another seed, or a lower "
                "lora_scale or guidance",
                status=500,
            )
        if isinstance(track, Exception):
            incident = secrets.token_hex(4)
            log.error("%s failed (incident %s)", self.backend, incident, exc_info=track)
            return TrackAnswer(error=f"{self.backend} failed at this track (incident {incident})", status=500)
        assert self._model is not None
        pcm = np.round(np.clip(track, -1, 1) * 32767).astype("<i2").T.tobytes()
        return TrackAnswer(pcm=pcm, sample_rate=self._model.sample_rate, channels=self._model.channels)
