"""The base of all runners: the BentoML service around one loaded model."""

from __future__ import annotations

import asyncio
import faulthandler
import io
import logging
import os
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import bentoml
import numpy as np
import soundfile
from numpy.typing import NDArray

from contract.tasks import TASKS
from core import logs, traces
from core.errors import Refusal
from core.settings import settings
from models import malloc
from models.base import Edit, Latents, Recording, Row
from runners import pcm
from runners.messages import (
    Audio,
    ConvertAnswer,
    ConvertRequest,
    FailedTake,
    LatentsMessage,
    QueuePosition,
    RunnerState,
    TrackAnswer,
    TrackRequest,
)
from runners.stream_messages import answer_message, samples_message
from runners.table import Backend
from storage import open_storage

if TYPE_CHECKING:
    from adapters.foreign import Converted
    from adapters.weights import AdapterWeights
    from models.base import Model, Track
    from models.checkpoints import Checkpoint
    from models.loading import Loading
    from runners.adapter_cache import AdapterCache
    from runners.worker import Worker

log = logging.getLogger("producer_twin.runner")

# The process answers 503 for this time before it ends.
_GRACE_SECONDS = 2.0


class Runner:
    """Serves one backend. Loads its model in the background, so that `describe` can tell why it is not ready.

    Attributes:
        backend: its name in the runner table.
        settled: set once loading has succeeded or failed.
    """

    backend: ClassVar[str]

    def __init__(self) -> None:
        logs.configure(settings())
        traces.configure(settings())
        malloc.keep_freed_memory()
        self._model: Model | None = None
        self._checkpoint: Checkpoint | None = None
        self._adapters: AdapterCache | None = None
        self._loading: Loading | None = None
        self._reason: str | None = "its model is being loaded"
        self._worker: Worker | None = None
        self._stages: dict[str, Literal["preparing", "finishing"]] = {}  # by queue key, before and after the worker
        self._converting = asyncio.Lock()
        self._own_process = False  # the process is a runner's, which BentoML replaces when it ends
        self.settled = threading.Event()
        threading.Thread(target=self._load_and_settle, name="load", daemon=True).start()

    @property
    def row(self) -> Backend:
        from runners import TABLE  # the table's module imports this one

        return TABLE.enabled(settings())[self.backend]

    @bentoml.on_startup
    def on_startup(self) -> None:
        self._own_process = True

    @bentoml.api
    async def generate(self, request: TrackRequest) -> TrackAnswer:
        """Generate a track, or several takes of it. Concurrent requests share batches."""
        return await self._generate(request)

    @bentoml.api
    async def stream(self, request: TrackRequest) -> AsyncGenerator[bytes, None]:
        """Generate a track, and send its audio as it is decoded: see `runners.stream_messages`."""
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[NDArray[np.float32] | None]()

        def emit(piece: NDArray[np.float32]) -> None:  # in the model's thread
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        answer = asyncio.ensure_future(self._generate(request, emit))
        answer.add_done_callback(lambda _: pieces.put_nowait(None))
        if request_task := asyncio.current_task():
            # If it is cancelled while a piece is being sent, this generator would end only when it is collected.
            request_task.add_done_callback(lambda _: answer.cancel())
        while (piece := await pieces.get()) is not None:
            yield samples_message(piece)
        yield answer_message(await answer)

    async def _generate(
        self, request: TrackRequest, emit: Callable[[NDArray[np.float32]], None] | None = None
    ) -> TrackAnswer:
        if self._reason or self._adapters is None or self._worker is None:
            return TrackAnswer(error=f"{self.backend} cannot serve: {self._reason}", status=503)
        deadline = time.monotonic() + request.timeout
        self._stages[request.queue_key] = "preparing"
        kept: dict[int, Latents] = {}
        try:
            try:
                self._worker.admit(rows=request.takes)
                async with self._adapters.hold(request.adapters) as adapters:
                    row = replace(await asyncio.to_thread(_row, request, adapters), emit=emit)
                    rows = row.takes(request.takes)
                    if request.keep_latents:
                        rows = [
                            replace(each, keep=partial(kept.__setitem__, number)) for number, each in enumerate(rows)
                        ]
                    tracks = await self._worker.tracks(rows, deadline, request.queue_key)
            except Exception as error:  # noqa: BLE001 - it is the answer
                tracks = [error]
            self._stages[request.queue_key] = "finishing"
            return await asyncio.to_thread(self._answer, tracks, request, kept)
        finally:
            self._stages.pop(request.queue_key, None)

    @bentoml.api
    async def queue_position(self, queue_key: str) -> QueuePosition:
        """The position of the track that was requested with this `queue_key`."""
        eta = await asyncio.to_thread(self._worker.eta, queue_key) if self._worker else None
        if eta is None:
            return QueuePosition(state=self._stages.get(queue_key))
        return QueuePosition(
            state="making" if eta.running else "waiting",
            ahead=eta.ahead,
            progress=eta.progress,
            seconds_left=eta.seconds_left,
        )

    @bentoml.api
    async def describe(self) -> RunnerState:
        """Whether the runner is ready. Asynchronous, so that it answers while a batch runs."""
        from adapters.serialization import largest_file

        loading = self._loading
        return RunnerState(
            ready=self._reason is None,
            loading=not self.settled.is_set(),
            progress=await asyncio.to_thread(loading.now) if loading else None,
            reason=self._reason,
            checkpoint=self.row.checkpoint_name(settings()),
            base_sha256=self._checkpoint.sha256 if self._checkpoint and self._model else None,
            sample_rate=self._model.sample_rate if self._model else None,
            channels=self._model.channels if self._model else None,
            largest_adapter=largest_file(self._model) if self._model else None,
            tasks=[task for task in TASKS if self._model and task in self._model.tasks],
            takes_reference=bool(self._model and self._model.takes_reference),
            keeps_latents=bool(self._model and self._model.keeps_latents),
            streams=bool(self._model and self._model.streams),
        )

    @bentoml.api
    async def convert(self, request: ConvertRequest) -> ConvertAnswer:
        """Convert an adapter file of another tool, and measure the adapter's effect on the model.

        Requests run one by one, since each takes several times its file's size in memory.
        """
        from adapters.adapter_file import InvalidAdapter
        from models.adapter_effect import measure, probe
        from models.device import is_out_of_memory

        async with self._converting:
            model, worker = self._model, self._worker
            if self._reason or model is None or worker is None or self._checkpoint is None:
                return ConvertAnswer(error=f"{self.backend} cannot check it: {self._reason}", status=503)
            try:
                converted, change = await asyncio.to_thread(self._convert, request, model, self._checkpoint)
                without = await worker.run(model.response(probe([])))
                with_it = await worker.run(model.response(probe([(converted.weights, 1.0)])))
                effect = await asyncio.to_thread(measure, change, model, without, with_it)
            except InvalidAdapter as reason:
                return ConvertAnswer(error=str(reason), status=400)
            except Refusal as refusal:
                return ConvertAnswer(error=refusal.message, status=refusal.status)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                return ConvertAnswer(
                    error=f"{self.backend} has no memory left to check it; try again later", status=503
                )
            return ConvertAnswer(data=converted.data, notes=[*converted.notes, *effect.notes()])

    def _convert(self, request: ConvertRequest, model: Model, checkpoint: Checkpoint) -> tuple[Converted, float]:
        """The converted adapter, and the size of its change relative to the weights."""
        from adapters import foreign
        from adapters.adapter_file import Header
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
        converted = foreign.convert(request.data, request.config, header, model)
        return converted, weight_change(converted.weights, model)

    def _load_and_settle(self) -> None:
        try:
            self._load()
        finally:
            self._loading = None
            self.settled.set()

    def _load(self) -> None:
        from models import compilation
        from models.checkpoints import CheckpointError, resolve
        from models.device import pick_device, pick_dtype
        from models.loading import Loading
        from models.memory import MemoryMode
        from runners.adapter_cache import AdapterCache
        from runners.scheduler import Scheduler
        from runners.sweep import start_sweeping
        from runners.worker import Worker

        config, row = settings(), self.row
        loading = self._loading = Loading()
        if not row.commercial_use:
            log.warning("%s: its public weights are licensed %s, not for commercial use", row.name, row.licence)
        try:
            device = pick_device(config.device)
            checkpoint = resolve(row.checkpoint_name(config), row.name, row.load_tiny(), config.hf_token, loading)
            loading.begin("loading", checkpoint.weight_bytes)
            model = row.load_model_class().load(
                checkpoint, device, pick_dtype(config.dtype, device), MemoryMode(config.offload, config.quantization)
            )
            if compilation.should_compile(config.compile, device):
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
        self._adapters = AdapterCache(storage, model, checkpoint, backend=row.name)
        self._worker = Worker(Scheduler(model), row.name, config.hung_seconds, self._end)
        self._model, self._reason = model, None
        malloc.trim()  # loading leaves unused memory
        start_sweeping(storage, self._adapters)
        log.info("%s is ready: %s on %s", row.name, checkpoint.name, device)

    def _end(self, reason: str) -> None:
        """Answer 503 for a moment, then end the process, which BentoML replaces."""
        self._reason = f"{reason}; it is being started again"
        log.critical("%s is not ready any more: %s", self.backend, reason)
        if self._own_process:
            faulthandler.dump_traceback()
            threading.Timer(_GRACE_SECONDS, os._exit, (1,)).start()

    def _answer(self, tracks: Sequence[Track], request: TrackRequest, kept: Mapping[int, Latents]) -> TrackAnswer:
        """The tracks, with the errors of takes that failed; if all did, the first of their errors."""
        errors = {number: track for number, track in enumerate(tracks) if isinstance(track, Exception)}
        if len(errors) == len(tracks):
            return self._refused(errors[0], request)
        assert self._model is not None
        first, *others = (
            b""
            if isinstance(track, Exception)
            else pcm.encoded(track, request.sample_format, request.options.take(number).seed)
            for number, track in enumerate(tracks)
        )
        messages = [_latents_message(kept[number]) if number in kept else None for number in range(len(tracks))]
        latents = messages if kept else messages[:1]
        refused = {number: self._refused(error, request) for number, error in errors.items()}
        return TrackAnswer(
            pcm=first,
            other_takes=others,
            failed_takes={
                number: FailedTake(error=each.error or "", status=each.status) for number, each in refused.items()
            },
            sample_format=request.sample_format,
            sample_rate=self._model.sample_rate,
            channels=self._model.channels,
            latents=latents[0],
            other_latents=latents[1:],
        )

    def _refused(self, error: Exception, request: TrackRequest) -> TrackAnswer:
        from models.device import is_out_of_memory
        from runners.scheduler import Expired

        if isinstance(error, Refusal):
            return TrackAnswer(error=error.message, status=error.status, wait=error.wait)
        if isinstance(error, Expired):
            return TrackAnswer(
                error=f"the track was not done within {request.timeout:g} s (GENERATE_TIMEOUT_SECONDS); "
                "ask for a shorter one, or later",
                status=504,
            )
        if is_out_of_memory(error):
            field = "source" if request.edit else "duration_seconds"
            return TrackAnswer(
                error=f"{field}: {request.seconds:g} s take more memory than {self.backend} has now; "
                "ask for less, or try again later",
                status=503,
            )
        if isinstance(error, FloatingPointError):
            return TrackAnswer(
                error=f"{self.backend} computed values that are not finite for this track; "
                "try another seed, or a lower lora_scale or guidance",
                status=500,
            )
        incident = secrets.token_hex(4)
        log.error("%s failed (incident %s)", self.backend, incident, exc_info=error)
        return TrackAnswer(error=f"{self.backend} failed at this track (incident {incident})", status=500)


def _row(request: TrackRequest, adapters: list[AdapterWeights]) -> Row:
    strengths = [ref.strength for ref in request.adapters]
    scaled = list(zip(adapters, strengths, strict=True))
    if scales := request.lora_scales:
        scaled = [
            part
            for weights, strength in scaled
            for part in (
                (weights.only("attention"), strength * scales.attention),
                (weights.only("mlp"), strength * scales.mlp),
            )
        ]
    edit, reference = request.edit, request.reference
    return Row(
        request.text,
        request.seconds,
        request.options,
        scaled,
        Edit(**{**dict(edit), "source": _recording(edit.source)}) if edit else None,
        _recording(reference) if reference else None,
    )


def _recording(audio: Audio) -> Recording:
    samples, _ = soundfile.read(io.BytesIO(audio.flac), dtype="float32", always_2d=True)
    return Recording(np.ascontiguousarray(samples.T), audio.sha256, _latents(audio.latents) if audio.latents else None)


def _latents(message: LatentsMessage) -> Latents:
    return Latents(np.frombuffer(message.values, "<f4").reshape(-1, message.channels), message.gain)


def _latents_message(latents: Latents) -> LatentsMessage:
    values = np.ascontiguousarray(latents.values, "<f4")
    return LatentsMessage(values=values.tobytes(), channels=values.shape[1], gain=latents.gain)
