"""ACE-Step's tasks: tracks that are made after the answer to the request, and asked for later.

Records are in storage, so that every replica answers for every task. The process that accepted a task makes its tracks,
and holds its lease: a task whose process has ended is answered as failed, by whichever replica is asked.
"""

from __future__ import annotations

import asyncio
import io
import logging
import time
import uuid
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel

from api.acestep.files import TaskFiles, kept, size_of
from api.acestep.translation import in_their_words
from api.capacity.thread_pools import to_record_thread
from contract import GenerateRequest, is_id
from core import logs, principal
from core.errors import Refusal
from generation.pipeline import Generation
from storage import AlreadyExists, NotFound, Storage, keys, records
from storage.process_lease import LivingProcesses, ProcessLease

log = logging.getLogger("producer_twin.acestep")

MAX_TRACKS = 200
MAX_TRACKS_OF_ONE = 64
# Files that came with tasks stay on the disk for temporary files until the tasks have ended.
MAX_FILE_BYTES = 8 * 2**30
MAX_FILE_BYTES_OF_ONE = 2 * 2**30
_AVERAGED = 50
_WAITING_SECONDS = 1800.0
_LOST = "the server that made it has ended; send the request again"

State = Literal["queued", "succeeded", "failed"]


class TaskTrack(BaseModel):
    """A finished track: its path in storage, its seed, and its length in seconds."""

    path: str
    seed: int
    seconds: float


class TaskRecord(BaseModel):
    """The stored state of a task.

    Attributes:
        owner: the name of the principal that sent the task; no other may see it.
        process: makes its tracks.
        request: the first take's, of which the others differ in their seed.
        model: the name of the checkpoint.
    """

    task_id: str
    owner: str
    process: str
    state: State
    created_at: datetime
    request: dict[str, Any]
    model: str
    tracks: list[TaskTrack] = []
    error: str | None = None


class AceStepTasks:
    """The tasks of this process, and the records of all.

    Args:
        lease: by which other processes see that this one lives.
    """

    def __init__(self, storage: Storage, lease: ProcessLease) -> None:
        self._storage = storage
        self._lease = lease
        self._living = LivingProcesses(storage, lease)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tracks: Counter[str] = Counter()
        self._file_bytes: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._seconds: deque[float] = deque(maxlen=_AVERAGED)

    async def release(
        self,
        takes: Sequence[GenerateRequest],
        model: str,
        generation: Generation,
        sent: Mapping[str, io.FileIO] = MappingProxyType({}),
    ) -> tuple[str, int]:
        """Start to make the takes. Returns the task's id, and its place among this process's tasks.

        Args:
            sent: the files that came with the request, by the names of their fields; they are copied.

        Raises:
            Refusal: 429, too many tracks wait; 503 or 507, the task or its files cannot be stored.
        """
        owner, size = principal.current().name, size_of(sent)
        self._take(owner, len(takes), size)
        record = TaskRecord(
            task_id=str(uuid.uuid4()),
            owner=owner,
            process=self._lease.name,
            state="queued",
            created_at=datetime.now(UTC),
            request=takes[0].model_dump(mode="json", exclude_unset=True),
            model=model,
        )
        files: TaskFiles | None = None
        try:
            files = await asyncio.to_thread(kept, sent)
            await to_record_thread(self._lease.hold)
            await to_record_thread(self._store, record)
        except BaseException:
            self._let_go(owner, len(takes), size)
            if files:
                files.remove()
            raise
        self._counts["total"] += 1
        self._running[record.task_id] = asyncio.create_task(self._run(record, takes, generation, files, size))
        return record.task_id, len(self._running)

    async def find(self, task_id: str) -> TaskRecord | None:
        """The task's record; None if there is none, or it is another principal's."""
        if not is_id(task_id):
            return None
        record = await to_record_thread(self._read, task_id)
        if record is None or record.owner != principal.current().name:
            return None
        if record.state == "queued" and await to_record_thread(self._is_lost, record):
            # It may have ended between the two reads.
            record = await to_record_thread(self._read, task_id)
            if record and record.state == "queued":
                return record.model_copy(update={"state": "failed", "error": _LOST})
        return record

    def statistics(self) -> dict[str, Any]:
        """The counts of this process's tasks since it started, and how long the last of them took on average."""
        running = len(self._running)
        return {
            "jobs": {
                "total": self._counts["total"],
                "queued": 0,
                "running": running,
                "succeeded": self._counts["succeeded"],
                "failed": self._counts["failed"],
            },
            "queue_size": running,
            "queue_maxsize": MAX_TRACKS,
            "avg_job_seconds": round(sum(self._seconds) / len(self._seconds), 2) if self._seconds else 0.0,
        }

    async def _run(
        self,
        record: TaskRecord,
        takes: Sequence[GenerateRequest],
        generation: Generation,
        files: TaskFiles,
        size: int,
    ) -> None:
        start = time.monotonic()
        made = [self._make(f"{record.task_id}-{number}", take, generation, files) for number, take in enumerate(takes)]
        try:
            found = await asyncio.gather(*made, return_exceptions=True)
        finally:
            files.remove()
            self._let_go(record.owner, len(takes), size)
        record.tracks = [each for each in found if isinstance(each, TaskTrack)]
        errors = [each for each in found if isinstance(each, BaseException)]
        record.state = "failed" if errors else "succeeded"
        record.error = self._reason(errors[0], record) if errors else None
        self._counts[record.state] += 1
        self._seconds.append(time.monotonic() - start)
        try:
            await asyncio.to_thread(self._store, record)
        except Refusal as refusal:  # the task is then answered as one whose process has ended
            log.warning("the end of task %s was not stored: %s", record.task_id, refusal)
        finally:
            self._running.pop(record.task_id, None)

    def _reason(self, error: BaseException, record: TaskRecord) -> str:
        if isinstance(error, Refusal):
            return in_their_words(error.message)
        log.error("task %s failed", record.task_id, exc_info=error)
        return f"the service failed at task {record.task_id}"

    async def _make(
        self, request_id: str, take: GenerateRequest, generation: Generation, files: TaskFiles
    ) -> TaskTrack:
        """One take; it has a request id of its own, under which `/queue/{request_id}` knows it.

        Where the runner's queue is full, the take waits here for as long as the runner says.
        """
        end = time.monotonic() + _WAITING_SECONDS
        while True:
            try:
                with logs.request(request_id), files.opened() as sent:
                    track = await generation.generate(take, as_base64=False, sent=sent)
                return TaskTrack(path=track.path, seed=track.seed, seconds=track.seconds)
            except Refusal as refusal:
                if refusal.status != 503 or refusal.wait is None or time.monotonic() > end:
                    raise
                await asyncio.sleep(refusal.wait)

    def _take(self, owner: str, takes: int, size: int) -> None:
        """Count a task's tracks and the bytes of its files. Raises Refusal (429) if there are too many."""
        if self._tracks.total() + takes > MAX_TRACKS or self._tracks[owner] + takes > MAX_TRACKS_OF_ONE:
            raise Refusal(429, "too many tracks are being made; query the tasks that you have released, and wait", 10)
        held = self._file_bytes
        if size and (held.total() + size > MAX_FILE_BYTES or held[owner] + size > MAX_FILE_BYTES_OF_ONE):
            raise Refusal(429, "tasks with too many files wait; query the tasks that you have released, and wait", 10)
        self._tracks[owner] += takes
        self._file_bytes[owner] += size

    def _let_go(self, owner: str, takes: int, size: int) -> None:
        self._tracks[owner] -= takes
        self._file_bytes[owner] -= size
        if not self._tracks[owner]:
            del self._tracks[owner], self._file_bytes[owner]

    def _read(self, task_id: str) -> TaskRecord | None:
        try:
            return records.read(self._storage, keys.acestep_task(task_id), _parse)[0]
        except NotFound:
            return None

    def _store(self, record: TaskRecord) -> None:
        try:
            self._storage.put(
                keys.acestep_task(record.task_id),
                record.model_dump_json().encode(),
                if_absent=record.state == "queued",
            )
        except AlreadyExists:  # a retry after an answer that was lost
            return

    def _is_lost(self, record: TaskRecord) -> bool:
        """Whether the process that made the task has ended."""
        if record.process == self._lease.name:
            return record.task_id not in self._running
        return not self._living.lives(record.process)


def _parse(data: bytes, key: str) -> TaskRecord:
    return TaskRecord.model_validate_json(data)
