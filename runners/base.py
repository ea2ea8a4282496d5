"""A runner: one loaded model, and the batches that it makes of what is asked of it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

import bentoml
import numpy as np

import logs
import traces
from errors import Refusal
from runners.batching import Batcher
from runners.messages import AdoptAnswer, AdoptRequest, RunnerState, TrackAnswer, TrackRequest
from runners.table import Backend
from settings import settings
from storage import open_storage

if TYPE_CHECKING:
    from models.base import Model, Row, Track
    from models.checkpoints import Checkpoint
    from runners.adapters import Adapters

log = logging.getLogger("producer_twin.runner")


class Runner:
    """Loads in the background, so that it can say why it is not ready instead of not being there."""

    backend: ClassVar[str]

    def __init__(self) -> None:
        logs.configure(settings())
        traces.configure(settings())
        self._model: Model | None = None
        self._checkpoint: Checkpoint | None = None
        self._adapters: Adapters | None = None
        self._reason: str | None = "its model is being loaded"
        self._batcher = Batcher(self._make)
        self.settled = threading.Event()  # ready, or known not to be
        threading.Thread(target=self._settle, name="load", daemon=True).start()

    @property
    def row(self) -> Backend:
        from runners import TABLE

        return TABLE.enabled(settings())[self.backend]

    @bentoml.api
    async def generate(self, request: TrackRequest) -> TrackAnswer:
        """Make a track, together with those that are asked for at the same time."""
        return await self._batcher.submit(request)

    @bentoml.api
    async def describe(self) -> RunnerState:
        """Asynchronous, so that it answers while a batch is under way."""
        return RunnerState(
            ready=self._model is not None,
            loading=not self.settled.is_set(),
            reason=self._reason,
            checkpoint=self.row.checkpoint_name(settings()),
            base_sha256=self._checkpoint.sha256 if self._checkpoint and self._model else None,
            sample_rate=self._model.sample_rate if self._model else None,
            channels=self._model.channels if self._model else None,
        )

    @bentoml.api
    async def adopt(self, request: AdoptRequest) -> AdoptAnswer:
        """Bring an adapter from elsewhere into our form, if it fits the model."""
        return await asyncio.to_thread(self._adopt, request)

    def _adopt(self, request: AdoptRequest) -> AdoptAnswer:
        from models.adapter_file import Header, InvalidAdapter
        from models.foreign import adopt

        if self._model is None or self._checkpoint is None:
            return AdoptAnswer(error=f"{self.backend} cannot check it: {self._reason}", status=503)
        header = Header(
            producer_id=request.producer_id,
            model_name=request.model_name,
            backend=self.backend,
            base=self._checkpoint.name,
            base_sha256=self._checkpoint.sha256,
            rank=0,
            job_id="",
            created_at=datetime.now(UTC).isoformat(),
            sha256="",
        )
        try:
            adopted = adopt(request.data, request.config, header, self._model)
        except InvalidAdapter as reason:
            return AdoptAnswer(error=str(reason), status=400)
        return AdoptAnswer(data=adopted.data, notes=adopted.notes)

    def _make(self, requests: Sequence[TrackRequest]) -> list[TrackAnswer]:
        """All tracks of a batch; each fails alone."""
        if self._model is None or self._adapters is None:
            reason = f"{self.backend} cannot serve: {self._reason}"
            return [TrackAnswer(error=reason, status=503) for _ in requests]
        rows: list[Row | Exception] = [self._row(request, self._adapters) for request in requests]
        tracks = iter(self._model.generate([row for row in rows if not isinstance(row, Exception)]))
        return [self._answer(row if isinstance(row, Exception) else next(tracks)) for row in rows]

    def _settle(self) -> None:
        try:
            self._load()
        finally:
            self.settled.set()

    def _load(self) -> None:
        from models.checkpoints import CheckpointError, resolve
        from models.device import pick_device, pick_dtype
        from runners.adapters import Adapters
        from runners.sweep import keep_swept

        config, row = settings(), self.row
        if not row.commercial_use:
            log.warning("%s: its public weights are licensed %s, not for commercial use", row.name, row.licence)
        try:
            device = pick_device(config.device)
            checkpoint = resolve(row.checkpoint_name(config), row.name, row.load_tiny(), config.hf_token)
            model = row.load_model_class().load(checkpoint, device, pick_dtype(config.dtype, device))
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
        self._adapters = Adapters(storage, model, checkpoint)
        self._model, self._reason = model, None
        keep_swept(storage, self._adapters)
        log.info("%s is ready: %s on %s", row.name, checkpoint.name, device)

    def _row(self, request: TrackRequest, adapters: Adapters) -> Row | Exception:
        from models.base import Row, Text

        try:
            chosen = [(adapters.get(ref), ref.strength) for ref in request.adapters]
        except Exception as error:  # noqa: BLE001 - one request's adapter must not fail its neighbours
            return error
        text = Text(request.prompt, request.lyrics, request.bpm, request.key, request.time_signature)
        return Row(text, request.seconds, request.seed, request.steps, request.guidance, chosen)

    def _answer(self, track: Track) -> TrackAnswer:
        if isinstance(track, Refusal):
            return TrackAnswer(error=track.message, status=track.status)
        if isinstance(track, Exception):
            incident = secrets.token_hex(4)
            log.error("%s failed (incident %s)", self.backend, incident, exc_info=track)
            return TrackAnswer(error=f"{self.backend} failed at this track (incident {incident})", status=500)
        assert self._model is not None
        pcm = np.round(np.clip(track, -1, 1) * 32767).astype("<i2").T.tobytes()
        return TrackAnswer(pcm=pcm, sample_rate=self._model.sample_rate, channels=self._model.channels)
