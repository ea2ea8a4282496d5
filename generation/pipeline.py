"""The generation of a track: choose the backend and adapters, sample, encode, store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from adapters.library import Library, twin_not_found
from adapters.stored_adapter import StoredAdapter
from contract import MAX_AUDIO_BASE64, GenerateRequest
from core import metrics, principal
from core.errors import Refusal
from core.settings import Settings
from core.tempos_in_text import tempos_in
from generation import encode
from generation.content_credentials import signer_of
from generation.editing import tasks
from generation.editing.preparation import Edit, prepare_edit, prepare_reference
from generation.editing.recordings import NOTHING_SENT, Recording, Recordings, Sent
from generation.editing.splice import splice
from generation.encode import Sound
from generation.outbox import Outbox
from generation.provenance import Provenance
from generation.queue_positions import QueuePositions, TrackedRequest
from generation.track_library import TrackLibrary
from generation.track_record import new_record
from models.base import Text
from runners import TABLE, Backend
from runners.clients import Runners
from runners.messages import AdapterRef, RunnerState, TrackAnswer, TrackRequest
from storage import Unavailable, keys, usage
from storage.producers import Producers

log = logging.getLogger("producer_twin.front")


@dataclass(frozen=True)
class Generated:
    """A stored track.

    Attributes:
        file: the encoded audio.
        media_type: the file's media type.
        backend: the backend that generated it.
        seed: the seed of the sampling.
        sample_rate: the file's, in Hz.
        seconds: duration.
        key: the file's storage key.
    """

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
    """Generates tracks.

    Args:
        runners: the backends that generate.
        library: the twins in storage.
        outbox: stores the tracks.
        settings: the limits and the C2PA certificate.
    """

    def __init__(self, runners: Runners, library: Library, outbox: Outbox, settings: Settings) -> None:
        self.runners = runners
        self.outbox = outbox
        self.library = library
        self.settings = settings
        self.signer = signer_of(settings)
        self.producers = Producers(library.storage)
        self.queue_positions = QueuePositions(runners, settings)
        self.recordings = Recordings(outbox)
        self.track_library = TrackLibrary(outbox)

    async def generate(self, request: GenerateRequest, as_base64: bool, sent: Sent = NOTHING_SENT) -> Generated:
        """Generate and store a track.

        Args:
            request: the validated HTTP request.
            as_base64: the file has to fit into a JSON answer.
            sent: the files that came with it.

        Raises:
            Refusal: the request cannot be served; the message names the field and the remedy.
        """
        with self.queue_positions.track() as tracked:
            return await self._generate(request, as_base64, sent, tracked)

    async def _generate(
        self, request: GenerateRequest, as_base64: bool, sent: Sent, tracked: TrackedRequest
    ) -> Generated:
        twins = await self._twins(request)
        backend = await self._backend(request, twins)
        state = await self._state(request, sent, backend)
        edit = await self._edit(request, sent, backend, state)
        reference = await prepare_reference(request, sent, self.recordings, state)
        seconds = self._seconds(request, backend, edit)
        bpm = _tempo(request, twins)
        text = Text(request.prompt, request.lyrics, bpm, request.key, request.time_signature, request.vocal_language)
        track_request = TrackRequest(
            text=text,
            seconds=seconds,
            options=request,
            timeout=self.settings.generate_timeout_seconds,
            queue_key=tracked.queue_key,
            edit=edit.request if edit else None,
            reference=reference.audio if reference else None,
        )
        if as_base64:
            self._check_size(request, state, seconds, edit)
        with tracked.running_on(backend):
            track = await self._track(backend, track_request, twins, list(request.strengths.values()))
        made_at = datetime.now(UTC)
        provenance = Provenance(
            backend=backend.name,
            base=state.checkpoint,
            seed=request.seed,
            twins=tuple(f"{found[0].header.lora_id}@{found[0].header.version}" for found in twins),
            made_at=made_at,
            bpm=bpm,
            task=request.task,
            source=edit.source.name if edit else None,
            reference=reference.name if reference else None,
        )
        sound = await asyncio.to_thread(_sound, track, edit)
        file, rate = await asyncio.to_thread(encode.encode, sound, request.output_format, provenance)
        if self.signer:
            file = await asyncio.to_thread(self.signer.sign, file, request.output_format, provenance)
        if as_base64 and len(file) * 4 / 3 > MAX_AUDIO_BASE64:
            raise self._too_large(request, seconds)
        producer = twins[0][0].header.producer_id if twins else _owner(edit.source if edit else None, reference)
        name, maker = keys.new_track_name(made_at), principal.current().tracks
        key = keys.output(producer, name, request.output_format, maker)
        await asyncio.to_thread(self.outbox.put, key, file)
        await asyncio.to_thread(self._record, key, request, provenance, sound, rate, producer)
        if self.settings.auth_issuer:
            await asyncio.to_thread(self._count_uses, twins, track.seconds)
        metrics.MUSIC.labels(backend.name).inc(track.seconds)
        return Generated(
            file=file,
            media_type=encode.MEDIA_TYPES[request.output_format],
            backend=backend.name,
            seed=request.seed,
            sample_rate=rate,
            seconds=sound.seconds,
            key=key,
        )

    async def _state(self, request: GenerateRequest, sent: Sent, backend: Backend) -> RunnerState:
        """The runner's state. Raises Refusal (409) if its checkpoint cannot do what the request asks for."""
        has_reference = request.reference is not None or sent.reference is not None
        state = await self.runners.state(backend)
        if request.task != "text" or has_reference:
            tasks.check(request, has_reference, backend, await self.runners.states())
        return state

    async def _edit(self, request: GenerateRequest, sent: Sent, backend: Backend, state: RunnerState) -> Edit | None:
        if request.task != "text":
            return await prepare_edit(request, sent.source, self.recordings, backend, state, self.settings)
        if sent.source is not None:
            raise Refusal(400, "source: text has no such field; leave it out, or send a task such as repaint")
        return None

    async def _twins(self, request: GenerateRequest) -> Sequence[list[StoredAdapter]]:
        """The files of each requested twin. Another producer's twin counts as missing, unless it is open."""
        for lora_id in request.strengths:
            if not principal.sees(lora_id.partition(":")[0]) and not await self._is_open(lora_id):
                raise twin_not_found(lora_id)
        lookups = [asyncio.to_thread(self.library.find_or_recall, lora_id) for lora_id in request.strengths]
        return await asyncio.gather(*lookups)

    async def _is_open(self, lora_id: str) -> bool:
        """Whether the principal may generate with another producer's twin; an earlier version of it is never open."""
        if not self.settings.auth_issuer or "@" in lora_id:
            return False
        return await asyncio.to_thread(self.producers.is_open, lora_id, principal.current().links)

    def _record(
        self, key: str, request: GenerateRequest, provenance: Provenance, sound: Sound, rate: int, producer: str | None
    ) -> None:
        """Add the track to the library. A full storage loses the record, not the track."""
        try:
            self.track_library.add(new_record(key, request, provenance, sound, rate, producer))
        except Unavailable as error:
            log.warning("%s is not in the library: %s", key, error.message)

    def _count_uses(self, twins: Sequence[list[StoredAdapter]], seconds: float) -> None:
        """Count a track for each of its twins. A full storage loses the count, not the track."""
        for found in twins:
            try:
                self.outbox.put(*usage.new_event(found[0].header.lora_id, seconds))
            except Unavailable as error:
                log.warning("a use of %s was not counted: %s", found[0].header.lora_id, error.message)

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

    def _seconds(self, request: GenerateRequest, backend: Backend, edit: Edit | None) -> float:
        longest = backend.longest(self.settings)
        if "duration_seconds" not in request.model_fields_set:
            return edit.window.length if edit else min(request.duration_seconds, longest)
        if request.duration_seconds > longest:
            raise Refusal(
                400,
                f"duration_seconds: {request.duration_seconds:g} is over the {longest:g} s that "
                f"{backend.name} makes at most; ask for less",
            )
        return request.duration_seconds

    def _check_size(self, request: GenerateRequest, state: RunnerState, seconds: float, edit: Edit | None) -> None:
        """Refuse a track that cannot fit into a JSON answer before minutes are spent on it."""
        if request.output_format != "wav" or not (state.sample_rate and state.channels):
            return
        bytes_per_second = state.sample_rate * state.channels * encode.SAMPLE_BYTES["int16"]
        if edit and edit.keeps_outside:
            bytes_per_second = edit.source.bytes_per_second
        if seconds * bytes_per_second * 4 / 3 > MAX_AUDIO_BASE64:
            raise self._too_large(request, seconds)

    def _too_large(self, request: GenerateRequest, seconds: float) -> Refusal:
        field = "duration_seconds" if request.task == "text" else "source"
        return Refusal(
            413,
            f"{field}: {seconds:g} s are over {MAX_AUDIO_BASE64 // 2**20} MB as base64; ask for a link "
            'with response: "url", for the bytes with the header Accept: audio/wav, or for less',
        )

    async def _track(
        self, backend: Backend, request: TrackRequest, twins: Sequence[list[StoredAdapter]], strengths: Sequence[float]
    ) -> TrackAnswer:
        """Generate with each twin's first usable file. Without one the track is refused, not made by the base model."""
        refusals: list[Refusal] = []
        # A twin may have copies at two paths: if one is damaged, the other is used.
        for attempt in range(max(map(len, twins), default=1)):
            files = [found[min(attempt, len(found) - 1)] for found in twins]
            adapters = [
                AdapterRef(key=twin.key, spares=twin.spares, header=twin.header, strength=strength)
                for twin, strength in zip(files, strengths, strict=True)
            ]
            try:
                return await self.runners.generate(backend, request.model_copy(update={"adapters": adapters}))
            except Refusal as refusal:
                if refusal.status != 404:
                    raise
                refusals.append(refusal)
        raise refusals[0]


def _owner(*recordings: Recording | None) -> str | None:
    """The producer of the first recording that has one: what is made of their recording, or follows it, is theirs."""
    return next((each.owner for each in recordings if each and each.owner), None)


def _sound(track: TrackAnswer, edit: Edit | None) -> Sound:
    """The track's samples; those of its source where that stays as it is."""
    made = Sound.of(track)
    return splice(edit.source, made, edit.window) if edit and edit.keeps_outside else made


def _tempo(request: GenerateRequest, twins: Sequence[list[StoredAdapter]]) -> int | None:
    """The request's tempo; else none if the prompt states one; else that of the strongest twin that has one."""
    if request.bpm is not None:
        return request.bpm
    if any(tempos_in(request.prompt)):
        return None
    strengths = zip(request.strengths.values(), [found[0].header.bpm for found in twins], strict=True)
    tempos = [(strength, bpm) for strength, bpm in strengths if strength > 0 and bpm is not None]
    return max(tempos, key=lambda tempo: tempo[0])[1] if tempos else None
