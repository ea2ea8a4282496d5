"""The records of submitted tracks in storage, and the marks of those that are not made yet.

A mark is written before its record, and removed after the track has ended and all that follows from it is stored. It
names the process that makes the track; when that has ended, another process takes the track up by changing the mark.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from contract import SubmittedState
from core.disk import temporary_space
from core.errors import Refusal
from generation.editing.recordings import RecordedField
from generation.submission.record import SubmissionRecord
from storage import AlreadyExists, Changed, Damaged, Entry, NotFound, Storage, records, work_keys

log = logging.getLogger("producer_twin.front")

# Submitted tracks of one principal that are not made yet.
MAX_OPEN = 64
# The recordings that came with them.
MAX_RECORDED_BYTES = 4 * 2**30
# A track whose processes end again and again may be what ends them.
MAX_TAKE_UPS = 20
# Longer than it takes from writing a mark to making its track.
_OLD_MARK_AGE = timedelta(minutes=1)


@dataclass(frozen=True)
class Mark:
    """The mark of a track that is not made yet.

    Attributes:
        key: of the mark.
        etag: of its content.
        process: the name of the process that makes the track.
        written_at: when the mark was written.
        take_ups: the number of times that a process took the track up.
    """

    key: str
    etag: str
    process: str
    written_at: datetime
    take_ups: int

    @property
    def is_old(self) -> bool:
        """Whether the process that the mark names makes the track by now, or has failed to."""
        return datetime.now(UTC) - self.written_at > _OLD_MARK_AGE

    @property
    def track_id(self) -> str:
        return work_keys.submitted_track(self.key)

    @property
    def recordings(self) -> str:
        """The prefix of the keys of the track's recordings."""
        return work_keys.submitted_recording(self.key.split("/")[1], self.track_id)


class SubmissionStore:
    """Reads and changes the records.

    Args:
        on_end: called with a record that has ended, before its mark is removed; again if it fails or the process ends.
    """

    def __init__(self, storage: Storage, on_end: Callable[[SubmissionRecord], None] = lambda record: None) -> None:
        self._storage = storage
        self._on_end = on_end
        self._marks: dict[str, Mark] = {}

    def create(
        self, record: SubmissionRecord, process: str, recordings: Mapping[RecordedField, io.FileIO] | None = None
    ) -> None:
        """Store a new record, with the recordings of its fields.

        Raises:
            Refusal: 429, the principal has too many; 413, their recordings are too large.
        """
        mark, account = record.mark, record.by.principal().account
        waiting = sum(1 for _ in self._storage.list(work_keys.open_submissions(account), limit=MAX_OPEN))
        if waiting >= MAX_OPEN:
            raise Refusal(429, f"{MAX_OPEN} submitted tracks are not made yet; wait for one, or cancel one", 10)
        if recordings:
            self._check_recordings(account, recordings)
        self._storage.put(mark, process.encode())
        for field, file in (recordings or {}).items():
            self._storage.put_file(record.recording(field), file)
        with suppress(AlreadyExists):  # a retry after an answer that was lost
            self._storage.put(record.stored_at, record.encode(), if_absent=True)

    def _check_recordings(self, account: str, recordings: Mapping[RecordedField, io.FileIO]) -> None:
        stored = sum(entry.size for entry in self._storage.list(work_keys.submitted_recordings(account)))
        sent = sum(os.fstat(file.fileno()).st_size for file in recordings.values())
        if stored + sent > MAX_RECORDED_BYTES:
            raise Refusal(
                413,
                f"{next(iter(recordings))}: the recordings of your submitted tracks would be over "
                f"{MAX_RECORDED_BYTES // 2**30} GiB; wait for a track, or send a path in place of a file",
            )

    def fetch_recordings(self, record: SubmissionRecord, folder: Path) -> dict[str, Path]:
        """The recordings that came with a track, by their fields, as files in a folder."""
        files: dict[str, Path] = {field: folder / field for field in record.recordings}
        with temporary_space():
            for field, path in files.items():
                self._storage.get_file(record.recording(field), path)
        return files

    def find(self, track_id: str) -> SubmissionRecord | None:
        """The record; None if there is none. Raises Refusal (500) if it is damaged."""
        with suppress(NotFound):
            return self._read(track_id)[0]
        return None

    def marks(self) -> Iterator[Mark]:
        """The marks of all tracks that are not made yet. Only those that have changed are read."""
        found = {}
        for entry in self._storage.list(work_keys.open_submissions()):
            known = self._marks.get(entry.key)
            if known is None or known.etag != entry.etag:
                try:
                    known = self._read_mark(entry)
                except (NotFound, Damaged):
                    continue
            found[entry.key] = known
        self._marks = found
        yield from found.values()

    def claim(self, mark: Mark, process: str) -> SubmissionRecord | None:
        """Take up a track whose process has ended. None if another process was first, or the track has ended.

        A track that was taken up `MAX_TAKE_UPS` times ends as failed.
        """
        try:
            record = self._read(mark.track_id)[0]
        except (NotFound, Damaged):
            if mark.is_old:  # a process died between writing the mark and the record
                for entry in self._storage.list(mark.recordings):
                    self._storage.delete(entry.key)
                self._storage.delete(mark.key)
            return None
        if record.has_ended:
            self.settle(record)
            return None
        if mark.take_ups >= MAX_TAKE_UPS:
            self.end(mark.track_id, "failed", f"the processes that made it ended, {MAX_TAKE_UPS} times; submit it anew")
            return None
        try:
            self._storage.put(mark.key, f"{process} {mark.take_ups + 1}".encode(), if_match=mark.etag)
        except Changed:
            return None
        return record

    def end(self, track_id: str, state: SubmittedState, error: str | None = None) -> SubmissionRecord | None:
        """End a track, unless it has ended. Returns the record as it is then; None if it is gone or damaged."""
        while True:
            try:
                record, etag = self._read(track_id)
            except (NotFound, Damaged):
                return None
            if record.has_ended:
                break
            ended = {"state": state, "error": error, "ended_at": datetime.now(UTC)}
            record = record.model_copy(update=ended)
            try:
                self._storage.put(record.stored_at, record.encode(), if_match=etag)
            except Changed:
                continue
            break
        self.settle(record)
        return record

    def settle(self, record: SubmissionRecord) -> None:
        """Do what follows from a record that has ended. It may be repeated."""
        self._on_end(record)
        for field in record.recordings:
            self._storage.delete(record.recording(field))
        self._storage.delete(record.mark)
        if record.state == "done":
            self._storage.delete(record.stored_at)  # the track has a record of its own

    def delete(self, record: SubmissionRecord) -> list[str]:
        """Delete the record of a track that was not made. Returns the keys that were deleted."""
        return [key for key in (record.stored_at,) if self._storage.delete(key)]

    def _read(self, track_id: str) -> tuple[SubmissionRecord, str]:
        return records.read(self._storage, work_keys.submission(track_id), SubmissionRecord.decode)

    def _read_mark(self, entry: Entry) -> Mark:
        content, etag = self._storage.get_with_etag(entry.key, 1024)
        process, _, take_ups = content.decode(errors="replace").partition(" ")
        return Mark(entry.key, etag, process, entry.modified, int(take_ups) if take_ups.isdecimal() else 0)
