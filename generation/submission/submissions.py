"""Makes submitted tracks: those of this process, and those of processes that have ended."""

from __future__ import annotations

import asyncio
import io
import logging
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

from contract import SubmitRequest, SubmittedTrackAnswer
from core import logs, principal
from core.errors import Refusal
from generation import access
from generation.editing.recordings import NOTHING_SENT, Sent
from generation.pipeline import Generation
from generation.streaming.live_audio import LiveAudio
from generation.submission.record import SubmissionRecord, Submitter
from generation.submission.store import Mark, SubmissionStore
from preprocessing.webhook_url import check_webhook_url
from storage import Storage, Unavailable, keys
from storage.process_lease import LivingProcesses, ProcessLease
from storage.webhooks import Deliveries

log = logging.getLogger("producer_twin.front")

POLL_SECONDS = 5.0
# While no track is submitted anywhere, the pause is this many times as long.
_IDLE_FACTOR = 3
# While the runner's queue is full, its process starts anew or storage is away, a track waits here.
MAX_WAITING_SECONDS = 1800.0
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 2, 30
# By the states of `queue_positions`; the others are `queued`.
_STATES = {"making": "making", "finishing": "finishing"}


class Submissions:
    """The submitted tracks.

    Args:
        generation: makes them.
        lease: by which other processes see that this one lives.
    """

    def __init__(self, generation: Generation, storage: Storage, lease: ProcessLease) -> None:
        self._generation = generation
        self._library = generation.track_library
        self._lease = lease
        self._living = LivingProcesses(storage, lease)
        self._webhooks = Deliveries(storage)
        self.store = SubmissionStore(storage, self._notify)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._live: dict[str, LiveAudio] = {}
        self._watch: asyncio.Task[None] | None = None
        self._stopping = False
        self._has_work = asyncio.Event()

    def start(self) -> None:
        """Take up, from now on, the tracks of processes that have ended. To be called in the event loop."""
        self._watch = asyncio.create_task(self._keep_watching())

    async def stop(self) -> None:
        """Stop making tracks; other processes take them up."""
        self._stopping = True
        tasks = [*self._running.values(), *([self._watch] if self._watch else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def submit(self, request: SubmitRequest, sent: Sent = NOTHING_SENT) -> SubmissionRecord:
        """Check a request, store it, and start to make its track.

        Args:
            sent: the files that came with it, which are stored until the track has ended.

        Raises:
            Refusal: 400, 403, 404, 409; 413 or 429, the principal has too many; 503; 507.
        """
        check_webhook_url(request.webhook_url)
        who, now = principal.current(), datetime.now(UTC)
        if request.webhook_url:
            await asyncio.to_thread(self._webhooks.check_room, who.account)
        producer = await self._generation.admit(request, sent)
        key = keys.output(producer, keys.new_track_name(now), request.output_format, who.tracks)
        fields = request.model_dump(mode="json", exclude_unset=True, exclude={"webhook_url", "response"})
        record = SubmissionRecord(
            track_id=keys.track_id(key) or "",
            request=fields | {"seed": request.seed},
            by=Submitter.of(who),
            created_at=now,
            webhook_url=request.webhook_url,
            recordings=tuple(sent.files),
        )
        process = await asyncio.to_thread(self._lease.hold)
        await asyncio.to_thread(self.store.create, record, process, sent.files)
        self._run(record)
        return record

    async def find(self, track_id: str) -> SubmittedTrackAnswer | None:
        """A submitted track that is not made; None if there is none that the principal may fetch."""
        record = await asyncio.to_thread(self._visible, track_id)
        if record is None:
            return None
        return record.answer() if record.has_ended else await self._position(record)

    async def listen(self, track_id: str) -> AsyncGenerator[bytes, None] | None:
        """The audio of a submitted track that is being made, from its start, in `LIVE_FORMAT`; once there is any.

        Returns:
            None if the principal may fetch no such track, or it is done.

        Raises:
            Refusal: 409, it cannot be heard; also by the chunks, where it is not made to its end.
        """
        live = self._live.get(track_id)  # before the record is read, since the track may end meanwhile
        record = await asyncio.to_thread(self._visible, track_id)
        if record is None:
            return None
        if record.has_ended:
            raise Refusal(409, f"track_id: it was not made ({record.error or record.state}); submit it again")
        if not record.request.get("stream"):
            raise Refusal(409, "track_id: it was submitted without stream; wait until it is made")
        if live is None:
            raise Refusal(409, "track_id: another server makes it, where it can be heard; wait until it is made")
        await live.begun()
        return live.chunks()

    async def cancel(self, track_id: str) -> list[str] | None:
        """Cancel a track that is not made yet, or delete the record of one that was not made.

        Returns:
            The keys that were deleted; None if no such track was submitted.

        Raises:
            Refusal: 403, the track is another's.
        """
        record = await asyncio.to_thread(self._visible, track_id)
        if record is None:
            return None
        if not _is_own(record) and not access.may_change(keys.track_of(track_id) or ""):
            raise Refusal(403, "track_id: it is not yours; its maker or its producer may cancel it")
        if record.has_ended:
            return await asyncio.to_thread(self.store.delete, record)
        await asyncio.to_thread(self.store.end, track_id, "cancelled")
        if task := self._running.get(track_id):
            task.cancel()
        return []

    def _visible(self, track_id: str) -> SubmissionRecord | None:
        key = keys.track_of(track_id)
        record = self.store.find(track_id) if key else None
        if record is None or key is None or record.state == "done":  # the library has it
            return None
        return record if _is_own(record) or access.may_fetch(key) else None

    async def _position(self, record: SubmissionRecord) -> SubmittedTrackAnswer:
        live = self._live.get(record.track_id)
        answer = record.answer().model_copy(update={"audible": live is not None and live.has_begun})
        with principal.acting(record.by.principal()):
            try:
                found = await self._generation.queue_positions.find(record.name)
            except Refusal:
                return answer  # no process has begun with it
        position = {"state": _STATES.get(found.state, "queued"), "ahead": found.ahead, "progress": found.progress}
        return answer.model_copy(update=position | {"seconds_left": found.seconds_left})

    def _notify(self, record: SubmissionRecord) -> None:
        """Store the webhook of a track that has ended."""
        if record.webhook_url is None or record.ended_at is None:
            return
        track = None
        if record.state == "done":
            try:
                with principal.acting(principal.ITSELF):
                    track = self._library.find(record.track_id).answer()
            except Unavailable:
                raise
            except Refusal as refusal:  # it was deleted meanwhile
                log.warning("the webhook of a submitted track is sent without its record: %s", refusal.message)
        event, account = f"track.{record.state}", record.by.principal().account
        self._webhooks.add(account, record.webhook_url, event, record.track_id, record.answer(track), record.ended_at)

    # Making

    def _run(self, record: SubmissionRecord) -> None:
        self._has_work.set()
        if record.request.get("stream"):
            self._live[record.track_id] = LiveAudio()
        task = asyncio.create_task(self._make(record))
        self._running[record.track_id] = task
        task.add_done_callback(lambda _: self._forget(record.track_id))

    def _forget(self, track_id: str) -> None:
        self._running.pop(track_id, None)
        self._end_live(track_id, Refusal(409, "track_id: it is not made here any more; see its state"))

    async def _make(self, record: SubmissionRecord) -> None:
        try:
            error = await self._attempt(record)
            await self._end(record, error)
            self._end_live(record.track_id, Refusal(409, f"track_id: it was not made: {error}") if error else None)
        except asyncio.CancelledError:
            if not self._stopping:
                await self._discard(record.track_id)
            raise

    def _end_live(self, track_id: str, error: Refusal | None) -> None:
        if live := self._live.pop(track_id, None):
            live.end(error)

    async def _attempt(self, record: SubmissionRecord) -> str | None:
        """Make the track. Returns why it was not made; None if it was."""
        try:
            with principal.acting(record.by.principal()), logs.request(record.name):
                await self._generate(record)
                await asyncio.to_thread(self._library.find, record.track_id)
        except Refusal as refusal:
            return refusal.message
        except Exception:
            log.exception("the submitted track %s failed", record.track_id)
            return f"the service failed at track {record.track_id}"
        return None

    async def _generate(self, record: SubmissionRecord) -> None:
        """Make the track, with the recordings that came with it."""
        with tempfile.TemporaryDirectory(prefix="submitted-") as folder, ExitStack() as files:
            paths = await asyncio.to_thread(self.store.fetch_recordings, record, Path(folder))
            sent = {field: files.enter_context(io.FileIO(path)) for field, path in paths.items()}
            await self._generate_from(record, Sent(**sent))

    async def _generate_from(self, record: SubmissionRecord, sent: Sent) -> None:
        """Make the track. It waits while it cannot be made for the time being."""
        end = time.monotonic() + MAX_WAITING_SECONDS
        pause = _FIRST_WAIT_SECONDS
        while True:
            try:
                request, live = record.generate_request(), self._live.get(record.track_id)
                await self._generation.generate_takes(request, False, sent, record.name, live)
                return
            except Refusal as refusal:
                if refusal.status != 503 or time.monotonic() > end:
                    raise
                if live and live.has_begun:
                    self._end_live(record.track_id, refusal)
                    self._live[record.track_id] = LiveAudio()
                log.info("the submitted track %s waits: %s", record.track_id, refusal.message)
                await asyncio.sleep(refusal.wait or pause)
                pause = min(2 * pause, _LONGEST_WAIT_SECONDS)

    async def _end(self, record: SubmissionRecord, error: str | None) -> None:
        """Store the end, as soon as storage is available."""
        while True:
            try:
                ended = await asyncio.to_thread(self.store.end, record.track_id, "failed" if error else "done", error)
                if ended and ended.state == "cancelled":
                    await self._discard(record.track_id)
                return
            except Unavailable as unavailable:
                log.warning("the end of the submitted track %s waits: %s", record.track_id, unavailable.message)
                await asyncio.sleep(_LONGEST_WAIT_SECONDS)

    async def _discard(self, track_id: str) -> None:
        """Delete all takes of a track that was cancelled after they were stored."""
        record = await asyncio.to_thread(self.store.find, track_id)
        if record and record.state == "cancelled":
            with suppress(Refusal), principal.acting(principal.ITSELF):
                track = await asyncio.to_thread(self._library.find, track_id)
                for take in track.takes or [track_id]:
                    await asyncio.to_thread(self._library.delete, take)

    # Taking up

    async def _keep_watching(self) -> None:
        while True:
            pause = POLL_SECONDS
            self._has_work.clear()
            try:
                pause *= 1 if await self._look() else _IDLE_FACTOR
            except Unavailable as error:
                log.warning("submitted tracks are not looked for: %s", error.message)
            except Exception:
                log.exception("submitted tracks are not looked for")
            await asyncio.sleep(POLL_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause - POLL_SECONDS):
                    await self._has_work.wait()

    async def _look(self) -> bool:
        """Cancel the tracks of this process whose mark is gone, and take up those of processes that have ended.

        Returns:
            Whether there are tracks that are not made yet.
        """
        running = set(self._running)
        marks = {mark.track_id: mark for mark in await asyncio.to_thread(lambda: list(self.store.marks()))}
        for track_id in running - marks.keys():
            if task := self._running.get(track_id):
                task.cancel()
        processes = {mark.process for mark in marks.values()} - {self._lease.name}
        living = {each for each in processes if await asyncio.to_thread(self._living.lives, each)}
        for track_id, mark in marks.items():
            is_left = mark.is_old if mark.process == self._lease.name else mark.process not in living
            if is_left and track_id not in self._running:
                await self._take_up(mark)
        return bool(marks)

    async def _take_up(self, mark: Mark) -> None:
        try:
            process = await asyncio.to_thread(self._lease.hold)
            if record := await asyncio.to_thread(self.store.claim, mark, process):
                log.info("the submitted track %s is taken up", mark.track_id)
                self._run(record)
        except Unavailable:
            raise
        except Exception:
            log.exception("the submitted track %s cannot be taken up", mark.track_id)


def _is_own(record: SubmissionRecord) -> bool:
    return record.by.name == principal.current().name
