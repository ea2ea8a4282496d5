"""The dataset's record: its source files, its segments, and what was left out and why. See docs/preprocessing.md."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from contract import DatasetAnswer, DatasetFile, TrainRequest, is_id
from core import plain_json
from core.errors import Refusal
from core.settings import Settings
from storage import Damaged, NotFound, Storage, keys, records

if TYPE_CHECKING:
    from preprocessing.songs import Piece, Song

SCHEMA = 2


@dataclass(frozen=True)
class TrainingLevel:
    """The level at which a song is trained on.

    Attributes:
        loudness: of the song's pieces together, before the gain, in LUFS.
        true_peak: likewise, in dBTP.
        gain: in dB.
    """

    loudness: float
    true_peak: float
    gain: float


class _Segment(BaseModel):
    """The fields of a segment that `restore` needs; `file` is an index into the record's files."""

    path: str
    sha256: str
    file: int = Field(ge=0)
    seconds: float = Field(ge=0, allow_inf_nan=False)
    gain: float = Field(0.0, ge=-100, le=100)


class _File(DatasetFile):
    training_level: TrainingLevel | None = None


class _Record(DatasetAnswer):
    files: list[_File]  # type: ignore[assignment]
    segments: list[_Segment]  # type: ignore[assignment]


@dataclass(frozen=True)
class TaggingSummary:
    """The record's `tagging`.

    Attributes:
        model: of Gemini, or the local tagger's.
        tagged, untagged: number of segments.
        calls: number of segments sent to Gemini.
        reason: why segments stay untagged by Gemini; of several reasons, the last.
    """

    model: str
    tagged: int
    untagged: int
    calls: int = 0
    reason: str | None = None


def parse_record(data: bytes, key: str) -> dict[str, Any]:
    """Parse a stored record. Raises ValueError if it is invalid, or belongs to another job or producer than `key`."""
    record = plain_json.decode_object(data)
    found = _Record.model_validate(record)
    if not is_id(found.producer_id) or not is_id(found.job_id):
        raise ValueError("it names no job")
    own = (keys.dataset_record(found.producer_id, found.job_id), keys.training_record(found.producer_id))
    if key not in own:
        raise ValueError(f"it is the record of {found.producer_id}'s job {found.job_id}")
    for segment in found.segments:
        if segment.file >= len(found.files) or not keys.is_key(segment.path.removeprefix(keys.PATH_PREFIX)):
            raise ValueError("it has a segment of no file")
    return record


def stored(request: TrainRequest, storage: Storage) -> dict[str, Any] | None:
    """The record of the dataset that the request names by `dataset_job_id`; None if it names files instead.

    Raises:
        Refusal: 409 if there is no such dataset, or its record is damaged.
    """
    if not request.dataset_job_id:
        return None
    try:
        return read_record(request.producer_id, request.dataset_job_id, storage)
    except NotFound:
        raise Refusal(
            409, f"dataset_job_id: {request.dataset_job_id} left no dataset, or it is gone; train from the files"
        ) from None
    except Damaged as error:
        raise Refusal(409, f"dataset_job_id: {error.message}, and train from the files") from error


def read_record(producer: str, job_id: str, storage: Storage) -> dict[str, Any]:
    """The record of a job's dataset. Raises NotFound or Damaged."""
    return records.read(storage, keys.dataset_record(producer, job_id), parse_record)[0]


def make_record(
    request: TrainRequest, job_id: str, songs: Sequence[Song], tagging: TaggingSummary | None, settings: Settings
) -> dict[str, Any]:
    """The record as JSON values."""
    pieces = [piece for song in songs for piece in song.pieces]
    record = {
        "schema": SCHEMA,
        "producer_id": request.producer_id,
        "job_id": job_id,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "rights_confirmed": request.rights_confirmed,
        "profile": "raw" if request.skip_preprocess else request.profile or settings.segment_profile,
        "seconds": round(sum(piece.seconds for piece in pieces), 3),
        "files": [_file(song) for song in songs],
        "segments": [_segment(job_id, number, piece) for number, piece in enumerate(pieces)],
        "tagging": tagging and asdict(tagging),
    }
    return plain_json.decode_object(plain_json.encode(record))


def _file(song: Song) -> dict[str, Any]:
    source, analysis = song.source, song.analysis.record()
    sound_warnings = analysis.pop("warnings")
    return {
        "source": source.display_name,
        "path": keys.to_path(source.key),
        "sha256": digest(source.path),
        "bytes": source.path.stat().st_size,
        "format": source.info.format,
        "sample_rate": source.info.sample_rate,
        "channels": source.info.channels,
        "seconds": song.analysis.levels.seconds,
        "metadata": song.metadata,
        "embedded": asdict(song.embedded),
        "analysis": analysis,
        "duplicate_of": song.duplicate_of,
        "cut_on": song.cut_on,
        "training_level": song.training_level and asdict(song.training_level),
        "segments": len(song.pieces),
        "dropped": dict(song.dropped),
        "warnings": [*sound_warnings, *song.warnings],
    }


def _segment(job_id: str, number: int, piece: Piece) -> dict[str, Any]:
    return {
        "path": keys.to_path(keys.job_audio(job_id, number, piece.path.suffix[1:])),
        "sha256": digest(piece.path),
        "file": piece.song,
        "start": round(piece.start, 3),
        "seconds": round(piece.seconds, 3),
        "gain": piece.gain,
        "caption": piece.caption and asdict(piece.caption),
        "tags": piece.tags and asdict(piece.tags),
    }


def digest(path: Path) -> str:
    """SHA-256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
