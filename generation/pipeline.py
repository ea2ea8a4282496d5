"""The generation of a track: choose the backend and adapters, sample, encode, store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from adapters.library import Library
from adapters.stored_adapter import StoredAdapter
from contract import FailedTake, GenerateRequest
from core import metrics
from core.errors import Refusal
from core.gate import Gate
from core.settings import Settings
from generation import encode, figures, limits
from generation.content_credentials import signer_of
from generation.delivery import plan
from generation.delivery.plan import Delivered, Delivery
from generation.editing import kept_latents, tasks
from generation.editing.preparation import Edit, prepare_edit, prepare_reference
from generation.editing.recordings import NOTHING_SENT, Recording, Recordings, Sent
from generation.figures import Goal
from generation.generated import Generated
from generation.goals import goal_of, strengths_of, tempo_of
from generation.outbox import Outbox
from generation.prepared import Prepared
from generation.provenance import Provenance
from generation.queue_positions import QueuePositions, TrackedRequest
from generation.selection import Selection
from generation.streaming.delivery import StreamedDelivery, check_backend, check_live
from generation.streaming.delivery import check as check_stream
from generation.streaming.encoded import EncodedStream
from generation.streaming.live_audio import LiveAudio, passed_on
from generation.streaming.track import StreamedTrack, TrackHead
from generation.takes import Draft, accepts, made_of, select
from generation.track_library import TrackLibrary
from generation.track_record import new_record
from models.base import Text
from runners import Backend
from runners.clients import Runners
from runners.messages import RunnerState, TrackAnswer, TrackRequest
from storage import Unavailable, usage

log = logging.getLogger("producer_twin.front")

# Bringing ten minutes of music to a loudness takes more than a gigabyte, and more than a minute of a core.
_LEVELLED_AT_ONCE, _LEVELLED_AT_ONCE_EACH = 2, 2


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
        self.selection = Selection(runners, library, settings)
        self.queue_positions = QueuePositions(runners, settings)
        self.recordings = Recordings(outbox)
        self.track_library = TrackLibrary(outbox)
        self._levelling = Gate(_LEVELLED_AT_ONCE, _LEVELLED_AT_ONCE_EACH)

    async def generate(self, request: GenerateRequest, as_base64: bool, sent: Sent = NOTHING_SENT) -> Generated:
        """Generate and store a track; of several takes, the first is returned."""
        return (await self.generate_takes(request, as_base64, sent))[0]

    async def generate_takes(
        self,
        request: GenerateRequest,
        as_base64: bool,
        sent: Sent = NOTHING_SENT,
        name: str | None = None,
        live: LiveAudio | None = None,
    ) -> list[Generated]:
        """Generate a request's takes, and store those that are answered.

        Args:
            request: the validated HTTP request.
            as_base64: the file has to fit into a JSON answer.
            sent: the files that came with it.
            name: of the first take; by default it is new, as those of the others.
            live: gets the audio while it is made, of a request with `stream`.

        Returns:
            The takes in the order of `rank`.

        Raises:
            Refusal: the request cannot be served; the message names the field and the remedy.
        """
        with self.queue_positions.track() as tracked:
            prepared = await self._prepare(request, sent, tracked)
            return await self._generate(prepared, as_base64, tracked, name, live)

    async def admit(self, request: GenerateRequest, sent: Sent = NOTHING_SENT) -> str | None:
        """Check a request that is generated later; its recordings are not decoded.

        Returns:
            The producer that its tracks belong to; None if they are the base model's.

        Raises:
            Refusal: as `generate_takes`.
        """
        plan.check(request)
        twins = await self.selection.twins(request)
        backend = await self.selection.backend(request, twins)
        state = await self._state(request, sent, backend)
        if request.stream:
            check_live(request)
            check_backend(backend, state)
        seconds = self._seconds(request, backend, None)
        if request.task == "text":
            _check_no_source(sent)
            limits.check_takes(request, seconds)
        owners = await self.recordings.owners(request, sent)
        return twins[0][0].header.producer_id if twins else next(filter(None, owners), None)

    async def stream(self, request: GenerateRequest, sent: Sent = NOTHING_SENT) -> StreamedTrack:
        """Begin to generate a track, whose file comes in chunks, and is stored before the last of them.

        Raises:
            Refusal: as `generate_takes`; also by the chunks, where something fails later.
        """
        return await StreamedTrack.begun(self._stream(request, sent))

    async def _stream(self, request: GenerateRequest, sent: Sent) -> AsyncGenerator[TrackHead | bytes, None]:
        check_stream(request)
        with self.queue_positions.track() as tracked:
            prepared = await self._prepare(request, sent, tracked)
            check_backend(prepared.backend, prepared.state)
            delivery, key, file = StreamedDelivery.of(prepared), prepared.new_key(), bytearray()
            stream, head = EncodedStream(self._messages(prepared), delivery), TrackHead.of(prepared, key)
            with tracked.running_on(prepared.backend):
                async with aclosing(stream.pieces()) as pieces:
                    async for _, chunk in pieces:
                        if not chunk:
                            continue
                        if not file:
                            yield head
                        file += chunk
                        yield chunk
            last = await stream.close()
            made = Delivered(bytes(file + last), delivery.sample_rate, delivery.seconds, delivery.waveform)
            metrics.MUSIC.labels(prepared.backend.name).inc(made.seconds)
            latents = kept_latents.of_file(stream.answer, prepared.delivery.edit)
            await self._keep(Draft(request.seed, made, prepared.provenance, None, latents), prepared, key)
            await self._count_uses(prepared.twins, made.seconds)
            if not file:
                yield head
            yield last  # after the track is stored, so that a client with the whole file can fetch it

    async def _prepare(self, request: GenerateRequest, sent: Sent, tracked: TrackedRequest) -> Prepared:
        """Check a request, and find all that its tracks are made of."""
        plan.check(request)
        twins = await self.selection.twins(request)
        backend = await self.selection.backend(request, twins)
        state = await self._state(request, sent, backend)
        keep_latents = kept_latents.are_wanted(request, backend, state, self.settings)
        edit = await self._edit(request, sent, backend, state)
        reference = await prepare_reference(request, sent, self.recordings, state)
        strengths = strengths_of(request, twins)
        bpm = tempo_of(request, twins, strengths)
        seconds = self._seconds(request, backend, edit)
        delivery = plan.plan(request, bpm, backend.longest(self.settings), backend.name, edit)
        text = Text(request.prompt, request.lyrics, bpm, request.key, request.time_signature, request.vocal_language)
        track_request = TrackRequest(
            text=text,
            seconds=delivery.loop.made_seconds if delivery.loop else seconds,
            options=request,
            timeout=self.settings.generate_timeout_seconds,
            queue_key=tracked.queue_key,
            edit=edit.request if edit else None,
            reference=reference.audio if reference else None,
            keep_latents=keep_latents,
            sample_format=delivery.pcm,
            lora_scales=request.lora_scales,
        )
        provenance = Provenance(
            backend=backend.name,
            base=state.checkpoint,
            seed=request.seed,
            twins=tuple(f"{found[0].header.lora_id}@{found[0].header.version}" for found in twins),
            made_at=datetime.now(UTC),
            bpm=bpm,
            key=request.key,
            bars=delivery.loop.bars if delivery.loop else None,
            task=request.task,
            source=edit.source.name if edit else None,
            reference=reference.name if reference else None,
        )
        producer = twins[0][0].header.producer_id if twins else _owner(edit.source if edit else None, reference)
        return Prepared(
            request, twins, strengths, backend, state, seconds, delivery, track_request, provenance, producer
        )

    async def _generate(
        self,
        prepared: Prepared,
        as_base64: bool,
        tracked: TrackedRequest,
        name: str | None,
        live: LiveAudio | None,
    ) -> list[Generated]:
        request, backend = prepared.request, prepared.backend
        if as_base64:
            limits.check_base64(prepared)
        limits.check_takes(request, prepared.seconds)
        goal = await self._goal(request, prepared.twins, prepared.strengths) if request.measures else None

        async def draw(before: int, count: int) -> list[Draft]:
            asked = {"options": request.take(before), "takes": count}
            with tracked.running_on(backend):
                made = await (self._live_track(prepared, live) if live else self._track(prepared, asked))
            metrics.MUSIC.labels(backend.name).inc((count - len(made.failed_takes)) * made.seconds)
            seeds = [request.take(before + number).seed for number in range(count)]
            drafts = [
                self._draft(take, prepared.delivery, replace(prepared.provenance, seed=seed), goal)
                for take, seed in zip(made.takes, seeds, strict=True)
            ]
            results = await asyncio.gather(*drafts, return_exceptions=True)
            return made_of(results, seeds, failed)

        failed: list[FailedTake] = []
        drafts, draws = await select(request, draw)
        places = [prepared.new_key() for _ in drafts]
        if name:
            places[0] = prepared.key_of(name)
        # The best is stored last, so that a client that can fetch it can fetch the others.
        stored = [
            await self._keep(draft, prepared, key, as_base64, places)
            for draft, key in reversed([*zip(drafts, places, strict=True)])
        ]
        await self._count_uses(prepared.twins, sum(draft.made.seconds for draft in drafts))
        return [replace(track, draws=draws, failed=tuple(failed)) for track in reversed(stored)]

    async def _draft(self, track: TrackAnswer, delivery: Delivery, provenance: Provenance, goal: Goal | None) -> Draft:
        """Encode a take, and measure it if there is a goal. Raises Refusal if the runner could not make it."""
        if track.error:
            raise Refusal(track.status, track.error)
        own = replace(delivery, request=delivery.request.model_copy(update={"seed": provenance.seed}))
        async with nullcontext() if own.request.loudness is None else self._levelling.slot():
            made = await asyncio.to_thread(own.deliver, track, provenance)
        measured = await figures.measure(made.file, own.request.output_format, goal) if goal else None
        latents = kept_latents.of_file(track, delivery.edit)
        return Draft(provenance.seed, made, provenance, measured, latents)

    async def _keep(
        self, draft: Draft, prepared: Prepared, key: str, as_base64: bool = False, takes: Sequence[str] = ()
    ) -> Generated:
        """Sign and store a take, with its record and latents.

        Args:
            takes: the keys of all takes of the request.
        """
        request = prepared.request
        file, output_format = draft.made.file, request.output_format
        if self.signer:
            file = await asyncio.to_thread(self.signer.sign, file, output_format, draft.provenance)
        if as_base64:
            limits.check_file_base64(request, file, draft.made.seconds)
        await asyncio.to_thread(self.outbox.put, key, file)
        await asyncio.to_thread(self._record, key, draft, prepared, takes)
        if draft.latents and prepared.state.base_sha256:
            base = prepared.state.base_sha256
            await asyncio.to_thread(kept_latents.store, draft.latents, key, file, base, self.outbox)
        return Generated(
            file=file,
            media_type=encode.MEDIA_TYPES[output_format],
            backend=draft.provenance.backend,
            seed=draft.seed,
            sample_rate=draft.made.sample_rate,
            seconds=draft.made.seconds,
            key=key,
            lora_scale=prepared.lora_scale,
            figures=draft.figures,
            accepted=accepts(request.accept, draft.figures) if request.accept else None,
        )

    async def _goal(
        self, request: GenerateRequest, twins: Sequence[list[StoredAdapter]], strengths: Sequence[float]
    ) -> Goal:
        """What the takes are compared with. The processes that measure them start meanwhile."""
        goal = await asyncio.to_thread(goal_of, request, twins, strengths, self.library.storage)
        await asyncio.to_thread(figures.prepare, goal)
        return goal

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
        _check_no_source(sent)
        return None

    def _record(self, key: str, draft: Draft, prepared: Prepared, takes: Sequence[str]) -> None:
        """Add the track to the library. A full storage loses the record, not the track."""
        own = prepared.request.model_copy(update={"seed": draft.seed})
        record = new_record(
            key, own, draft.provenance, draft.made, prepared.producer, prepared.strengths, takes, draft.figures
        )
        try:
            self.track_library.add(record)
        except Unavailable as error:
            log.warning("%s is not in the library: %s", key, error.message)

    async def _count_uses(self, twins: Sequence[list[StoredAdapter]], seconds: float) -> None:
        """Count a track for each of its twins. A full storage loses the count, not the track."""
        for found in twins if self.settings.auth_issuer else ():
            try:
                await asyncio.to_thread(self.outbox.put, *usage.new_event(found[0].header.lora_id, seconds))
            except Unavailable as error:
                log.warning("a use of %s was not counted: %s", found[0].header.lora_id, error.message)

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

    async def _track(self, prepared: Prepared, asked: dict[str, Any]) -> TrackAnswer:
        """Generate with each twin's first usable file. Without one the track is refused, not made by the base model."""
        refusals: list[Refusal] = []
        for adapters in prepared.adapters():
            request = prepared.track_request.model_copy(update=asked | {"adapters": adapters})
            try:
                return await self.runners.generate(prepared.backend, request)
            except Refusal as refusal:
                if refusal.status != 404:
                    raise
                refusals.append(refusal)
        raise refusals[0]

    async def _live_track(self, prepared: Prepared, live: LiveAudio) -> TrackAnswer:
        check_backend(prepared.backend, prepared.state)
        return await passed_on(self._messages(prepared), prepared, live)

    async def _messages(self, prepared: Prepared) -> AsyncGenerator[bytes | TrackAnswer, None]:
        """The runner's messages of a stream, with the same files as `_track`."""
        refusals: list[Refusal] = []
        for adapters in prepared.adapters():
            request = prepared.track_request.model_copy(update={"adapters": adapters})
            try:
                async with aclosing(self.runners.stream(prepared.backend, request)) as messages:
                    async for message in messages:
                        yield message
                return
            except Refusal as refusal:
                if refusal.status != 404:
                    raise
                refusals.append(refusal)
        raise refusals[0]


def _check_no_source(sent: Sent) -> None:
    if sent.source is not None:
        raise Refusal(400, "source: text has no such field; leave it out, or send a task such as repaint")


def _owner(*recordings: Recording | None) -> str | None:
    """The producer of the first recording that has one: what is made of their recording, or follows it, is theirs."""
    return next((each.owner for each in recordings if each and each.owner), None)
