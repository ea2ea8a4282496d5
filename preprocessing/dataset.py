"""From a train request to the clips that are trained on.

Everything is fetched, checked, cut and tagged in a working folder first; only then is anything written to storage. So
a request that cannot be served leaves nothing there. What is written:

    datasets/<producer>/<job>/clip_0000.<ext>   what was fetched from URLs
    datasets/<producer>/<job>/dataset.json      the record, written after all that it names
    job_data/<job>/{audio,text}/seg_0000.…      what this job trains on; it stays with the job
    training_data/<producer>/…                  the same, of the producer's newest job (see preprocessing.view)

A text is there for a segment that was tagged. The record is JSON with the keys of `_record`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import soundfile

from contract import State, TrainRequest
from errors import Refusal
from preprocessing import captions, view
from preprocessing.captions import Caption, Tags
from preprocessing.decode import AudioInfo, BadAudio, blocks, probe
from preprocessing.fetch import check_url, fetch, without_secrets
from preprocessing.segment import CONTRACT_CHANNELS, CONTRACT_RATE, SHORTEST, segments, to_pcm16
from preprocessing.tag import Tagging, require_key, tag
from settings import Settings
from storage import NotFound, Storage, keys

SCHEMA = 1


@dataclass(frozen=True)
class Clip:
    """One thing to train on: a file in the working folder. `song` is the index of the source it was cut from."""

    path: Path
    caption: Caption
    seconds: float
    song: int


@dataclass(frozen=True)
class Dataset:
    clips: list[Clip]
    record: dict[str, Any]


@dataclass
class _Source:
    """A file that the request names, here. `key` is where storage has it, or will; `shown` is how people know it."""

    index: int
    field: str
    shown: str
    path: Path
    key: str
    info: AudioInfo


@dataclass
class _Piece:
    """A clip in the making. `listen` is what the tagger gets: a WAV file of 15 s or less."""

    path: Path
    listen: Path
    song: int
    start: float
    seconds: float
    tags: Tags | None = None
    caption: Caption = field(default_factory=lambda: Caption(captions.NOTHING_KNOWN))


def check_sources(request: TrainRequest, storage: Storage, settings: Settings) -> None:
    """Refuse what could not be prepared, as far as it can be known at once and without writing.

    400 for a malformed path or URL and for tagging without a key; 404 for a path that does not exist, or is not this
    producer's.
    """
    if request.tag_before_train:
        require_key(settings)
    for index, path in enumerate(request.upload_paths or []):
        name = f"upload_paths[{index}]"
        if storage.stat(_own_key(path, request.producer_id, name)) is None:
            raise _missing(path, name)
    for index, url in enumerate(request.upload_urls or []):
        check_url(url, f"upload_urls[{index}]", settings)


def prepare(
    request: TrainRequest,
    job_id: str,
    storage: Storage,
    workdir: Path,
    settings: Settings,
    *,
    native_rate: int,
    native_channels: int,
    report: Callable[[State], object] = lambda _: None,
) -> Dataset:
    """Make the job's dataset. The clips' files lie in `workdir`, and are the caller's to remove.

    `native_rate` (Hz) and `native_channels` are the backend's own, for the profile of that name. `report` hears
    "preparing", and "tagging" if there is any. Raises Refusal, naming the file, for whatever cannot be used.
    """
    report("preparing")
    if request.tag_before_train:
        require_key(settings)
    profile = request.profile or settings.segment_profile
    rate, channels = (
        (native_rate, native_channels) if profile == "native" else (CONTRACT_RATE, CONTRACT_CHANNELS)
    )
    sources = list(_collect(request, job_id, storage, workdir / "sources", settings))
    pieces: list[_Piece] = []
    dropped: list[Counter[str]] = []
    for source in sources:
        try:
            if request.skip_preprocess:
                made, left_out = _whole(source, workdir)
            else:
                made, left_out = _cut(source, workdir / "audio", len(pieces), rate, channels)
        except BadAudio as error:
            raise Refusal(400, f"{source.field}: {source.shown}: {error}") from error
        pieces += made
        dropped.append(left_out)
    if not pieces:
        raise Refusal(
            400, f"{_sources_field(request)}: there is no second of audible sound in them; send audio to train on"
        )
    tagging = None
    if request.tag_before_train:
        report("tagging")
        tagging = tag([piece.listen for piece in pieces], settings)
        for piece, tags in zip(pieces, tagging.tags, strict=True):
            piece.tags = tags
    for piece in pieces:
        piece.caption = captions.caption(request.metadata[piece.song], piece.tags)
    record = _record(request, job_id, sources, pieces, dropped, tagging, settings)
    _write(request, job_id, storage, sources, pieces, record)
    clips = [Clip(piece.path, piece.caption, piece.seconds, piece.song) for piece in pieces]
    return Dataset(clips, record)


def _own_key(path: str, producer: str, name: str) -> str:
    """The key of a path. Another producer's is answered as if it did not exist."""
    key = keys.from_path(path, name)
    if key.split("/")[:2] not in (["uploads", producer], ["datasets", producer]):
        raise _missing(path, name)
    return key


def _missing(path: str, name: str) -> Refusal:
    return Refusal(404, f"{name}: {keys.shown(path)} does not exist; upload it first")


def _sources_field(request: TrainRequest) -> str:
    return "upload_paths" if request.upload_paths else "upload_urls"


def _collect(
    request: TrainRequest, job_id: str, storage: Storage, folder: Path, settings: Settings
) -> Iterator[_Source]:
    """Bring all sources here, in the request's order, and look at their headers."""
    fetched = fetch(request.upload_urls or [], folder, settings)
    for index, source in enumerate(request.sources):
        name = f"{_sources_field(request)}[{index}]"
        if request.upload_paths:
            key, shown, path = _own_key(source, request.producer_id, name), keys.shown(source), folder / f"{index:04d}"
            try:
                storage.get_file(key, path)
            except NotFound as error:
                raise _missing(source, name) from error
        else:
            shown, path = without_secrets(source), fetched[index]
            key = keys.dataset_clip(request.producer_id, job_id, index, path.suffix[1:])
        try:
            info = probe(path)
        except BadAudio as error:
            raise Refusal(400, f"{name}: {shown}: {error}") from error
        # Whatever the upload was called, from here on its extension is true.
        yield _Source(index, name, shown, path.rename(path.with_suffix(f".{info.format}")), key, info)


def _cut(source: _Source, folder: Path, first: int, rate: int, channels: int) -> tuple[list[_Piece], Counter[str]]:
    """Write a source's segments as `seg_<first>.wav` and on; also count what was left out, by reason."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces: list[_Piece] = []
    dropped: Counter[str] = Counter()
    for segment in segments(source.path, rate, channels):
        if segment.samples is None:
            dropped[segment.dropped or ""] += 1
            continue
        path = folder / f"seg_{first + len(pieces):04d}.wav"
        soundfile.write(path, to_pcm16(segment.samples), rate, subtype="PCM_16")
        pieces.append(_Piece(path, path, source.index, segment.start, segment.seconds))
    return pieces, dropped


def _whole(source: _Source, workdir: Path) -> tuple[list[_Piece], Counter[str]]:
    """The source as it is, decoded once from end to end to be sure; the tagger gets its first audible segment."""
    seconds = sum(len(block) for block in blocks(source.path)) / source.info.sample_rate
    if seconds < SHORTEST:
        return [], Counter(short=1)
    audible = next((segment.samples for segment in segments(source.path) if segment.samples is not None), None)
    if audible is None:
        return [], Counter(silent=1)
    listen = workdir / "excerpts" / f"{source.index:04d}.wav"
    listen.parent.mkdir(exist_ok=True)
    soundfile.write(listen, to_pcm16(audible), CONTRACT_RATE, subtype="PCM_16")
    return [_Piece(source.path, listen, source.index, 0.0, seconds)], Counter()


def _record(
    request: TrainRequest,
    job_id: str,
    sources: list[_Source],
    pieces: list[_Piece],
    dropped: list[Counter[str]],
    tagging: Tagging | None,
    settings: Settings,
) -> dict[str, Any]:
    files = [
        {
            "source": source.shown,
            "path": keys.to_path(source.key),
            "sha256": _digest(source.path),
            "bytes": source.path.stat().st_size,
            "format": source.info.format,
            "sample_rate": source.info.sample_rate,
            "channels": source.info.channels,
            "seconds": round(source.info.seconds, 3),
            "metadata": request.metadata[source.index],
            "segments": sum(piece.song == source.index for piece in pieces),
            "dropped": dict(dropped[source.index]),
        }
        for source in sources
    ]
    parts = [
        {
            "path": keys.to_path(keys.job_audio(job_id, number, piece.path.suffix[1:])),
            "sha256": _digest(piece.path),
            "file": piece.song,
            "start": round(piece.start, 3),
            "seconds": round(piece.seconds, 3),
            "caption": asdict(piece.caption),
            "tags": asdict(piece.tags) if piece.tags else None,
        }
        for number, piece in enumerate(pieces)
    ]
    tagged = sum(piece.tags is not None for piece in pieces)
    record = {
        "schema": SCHEMA,
        "producer_id": request.producer_id,
        "job_id": job_id,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "profile": "raw" if request.skip_preprocess else request.profile or settings.segment_profile,
        "seconds": round(sum(piece.seconds for piece in pieces), 3),
        "files": files,
        "segments": parts,
        "tagging": tagging
        and {
            "model": settings.gemini_model,
            "tagged": tagged,
            "untagged": len(pieces) - tagged,
            "reason": tagging.reason,
        },
    }
    # Metadata is any JSON that Python reads, which knows NaN; the record is JSON that everybody reads.
    return json.loads(json.dumps(record), parse_constant=lambda _: None)


def _write(
    request: TrainRequest,
    job_id: str,
    storage: Storage,
    sources: list[_Source],
    pieces: list[_Piece],
    record: dict[str, Any],
) -> None:
    producer = request.producer_id
    own: dict[str, view.Content] = {}
    shown: dict[str, view.Content] = {}
    for number, piece in enumerate(pieces):
        extension = piece.path.suffix[1:]
        own[keys.job_audio(job_id, number, extension)] = piece.path
        shown[keys.training_audio(producer, number, extension)] = piece.path
        if piece.tags:
            stem, line = f"seg_{number:04d}", (piece.tags.line() + "\n").encode()
            own[keys.job_text(job_id, stem)] = line
            shown[keys.training_text(producer, stem)] = line
    fetched = {source.key: source.path for source in sources if request.upload_urls}
    view.put_all(storage, fetched | own)
    text = json.dumps(record, indent=1).encode()
    storage.put(keys.dataset_record(producer, job_id), text)
    view.replace(storage, producer, job_id, shown, text)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
