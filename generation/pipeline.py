"""`/generate`: which backend, which adapter, then the track."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.library import Library, StoredAdapter, twin_not_found
from contract import MAX_AUDIO_BASE64, GenerateRequest
from core import metrics, principal
from core.errors import Refusal
from core.settings import Settings
from generation import encode
from generation.content_credentials import signer_of
from generation.outbox import Outbox
from generation.provenance import Provenance
from generation.queue_positions import Place, QueuePositions
from runners import TABLE, Backend
from runners.clients import Runners
from runners.messages import AdapterRef, TrackAnswer, TrackRequest
from storage import keys

_DEFAULT_SECONDS = 60.0


@dataclass(frozen=True)
class Generated:
    """A stored track."""

    file: bytes
    media_type: str
    backend: str
    seed: int
    sample_rate: int
    seconds: float
    key: str

    @property
    def path(self) -> str:
        return keys.to_path(self.key)


class Generation:
    def __init__(self, runners: Runners, library: Library, outbox: Outbox, settings: Settings) -> None:
        self.runners = runners
        self.outbox = outbox
        self.library = library
        self.settings = settings
        self.signer = signer_of(settings)
        self.places = QueuePositions(runners, settings)

    async def make(self, request: GenerateRequest, as_base64: bool) -> Generated:
        """Make, store and return a track.

        Raises:
            Refusal: with the field and the mend.
        """
        with self.places.taken() as place:
            return await self._make(request, as_base64, place)

    async def _make(self, request: GenerateRequest, as_base64: bool, place: Place) -> Generated:
        twins = await self._twins(request)
        backend = await self._backend(request, twins)
        seconds = self._seconds(request, backend)
        seed = secrets.randbelow(2**32) if request.seed is None else request.seed
        row = TrackRequest(
            prompt=request.prompt,
            seconds=seconds,
            seed=seed,
            patience=self.settings.generate_timeout_seconds,
            lyrics=request.lyrics,
            bpm=request.bpm,
            key=request.key,
            time_signature=request.time_signature,
            steps=request.steps,
            guidance=request.guidance,
            shift=request.shift,
            temperature=request.temperature,
            place=place.name,
        )
        if as_base64:
            await self._check_size(request, backend, seconds)
        with place.at(backend):
            track = await self._track(backend, row, twins, list(request.strengths.values()))
        provenance = Provenance(
            backend=backend.name,
            base=(await self.runners.state(backend)).checkpoint,
            seed=seed,
            twins=tuple(f"{found[0].header.lora_id}@{found[0].header.version}" for found in twins),
        )
        file, rate = await asyncio.to_thread(encode.encode, track, request.output_format, provenance)
        if self.signer:
            file = await asyncio.to_thread(self.signer.sign, file, request.output_format, provenance)
        if as_base64 and len(file) * 4 / 3 > MAX_AUDIO_BASE64:
            raise self._too_large(seconds)
        producer = twins[0][0].header.producer_id if twins else None
        key = keys.output(producer, str(uuid.uuid4()), encode.EXTENSIONS[request.output_format])
        await asyncio.to_thread(self.outbox.put, key, file)
        metrics.MUSIC.labels(backend.name).inc(len(track.pcm) / (2 * track.channels * track.sample_rate))
        samples = len(track.pcm) // (2 * track.channels)
        return Generated(
            file=file,
            media_type=encode.MEDIA_TYPES[request.output_format],
            backend=backend.name,
            seed=seed,
            sample_rate=rate,
            seconds=samples / track.sample_rate,
            key=key,
        )

    async def _twins(self, request: GenerateRequest) -> Sequence[list[StoredAdapter]]:
        """The files of each twin that is asked for. Another producer's is not there."""
        for lora_id in request.strengths:
            if not principal.sees(lora_id.partition(":")[0]):
                raise twin_not_found(lora_id)
        lookups = [asyncio.to_thread(self.library.find_or_recall, lora_id) for lora_id in request.strengths]
        return await asyncio.gather(*lookups)

    async def _backend(self, request: GenerateRequest, twins: Sequence[list[StoredAdapter]]) -> Backend:
        headers = [found[0].header for found in twins]
        if request.backend_override:
            chosen = TABLE.choose(request.backend_override, self.settings)
            for header in headers:
                if header.backend != chosen.name:
                    raise Refusal(
                        409,
                        f"lora_id: {header.lora_id} was trained for {header.backend}; "
                        f"leave out backend_override or set it to that",
                    )
            return await self.runners.serving(chosen, may_fall_back=False)
        if len({header.backend for header in headers}) > 1:
            kinds = ", ".join(f"{header.lora_id} for {header.backend}" for header in headers)
            raise Refusal(409, f"loras: twins of different backends cannot be blended ({kinds})")
        if twins:
            return await self.runners.serving(self._own_backend(twins[0][0]), may_fall_back=False)
        return await self.runners.serving(TABLE.choose(None, self.settings), may_fall_back=True)

    def _own_backend(self, twin: StoredAdapter) -> Backend:
        backend = TABLE.enabled(self.settings).get(twin.header.backend)
        if backend is None:
            raise Refusal(
                409, f"lora_id: {twin.header.lora_id} was trained for {twin.header.backend}, which is not served here"
            )
        return backend

    def _seconds(self, request: GenerateRequest, backend: Backend) -> float:
        longest = backend.longest(self.settings)
        if "duration_seconds" not in request.model_fields_set:
            return min(_DEFAULT_SECONDS, longest)
        if request.duration_seconds > longest:
            raise Refusal(
                400,
                f"duration_seconds: {request.duration_seconds:g} is over the {longest:g} s that "
                f"{backend.name} makes at most; ask for less",
            )
        return request.duration_seconds

    async def _check_size(self, request: GenerateRequest, backend: Backend, seconds: float) -> None:
        """Told beforehand, since making so long a track takes minutes."""
        state = await self.runners.state(backend)
        if request.output_format == "wav" and state.sample_rate and state.channels:
            size = seconds * state.sample_rate * state.channels * 2 * 4 / 3
            if size > MAX_AUDIO_BASE64:
                raise self._too_large(seconds)

    def _too_large(self, seconds: float) -> Refusal:
        return Refusal(
            413,
            f"duration_seconds: {seconds:g} s are over {MAX_AUDIO_BASE64 // 2**20} MB as base64; ask for a link "
            'with response: "url", for the bytes with the header Accept: audio/wav, or for less',
        )

    async def _track(
        self, backend: Backend, row: TrackRequest, twins: Sequence[list[StoredAdapter]], strengths: Sequence[float]
    ) -> TrackAnswer:
        """With each twin's first file that the runner can use; never the base model in its place."""
        refusals: list[Refusal] = []
        # A twin lies at one path or at two; what is damaged at one is tried at the other.
        for attempt in range(max(map(len, twins), default=1)):
            files = [found[min(attempt, len(found) - 1)] for found in twins]
            adapters = [
                AdapterRef(key=twin.key, spares=twin.spares, header=twin.header, strength=strength)
                for twin, strength in zip(files, strengths, strict=True)
            ]
            try:
                return await self.runners.generate(backend, row.model_copy(update={"adapters": adapters}))
            except Refusal as refusal:
                if refusal.status != 404:
                    raise
                refusals.append(refusal)
        raise refusals[0]
