"""Datasets: from a train request to the clips that are trained on.

Sources are fetched, checked, cut and tagged in a working folder; only then is the dataset written to storage. So a
refused request leaves nothing there. What is written:

    datasets/<producer>/<job>/clip_0000.<ext>   downloads
    datasets/<producer>/<job>/dataset.json      the record, written after all files that it names
    job_data/<job>/{audio,text}/seg_0000.…      what this job trains on
    training_data/<producer>/…                  the same for the newest job (see preprocessing.training_folder)

Tagged segments have a text file. It may be edited: `restore` reads it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from contract import State, TrainRequest
from core import plain_json
from core.disk import temporary_space
from core.errors import Refusal
from core.settings import Settings
from models.traits import DEFAULT_TRAITS, Traits
from preprocessing import training_folder
from preprocessing.captions import Caption, ClipInfo, normalize_dataset, restored_caption
from preprocessing.duplicates import duplicates
from preprocessing.embedded_tags import embedded_tags
from preprocessing.isolation import ANALYSIS, PREPARE, refusing
from preprocessing.record import TaggingSummary, digest, make_record
from preprocessing.segment import CONTRACT_CHANNELS, CONTRACT_RATE
from preprocessing.songs import Song, analyse_source, cut, keep_whole, training_gain
from preprocessing.sources import Source, collect, source_field
from preprocessing.stages import OnProgress, StageMeter, ignore
from preprocessing.tag import tag, uses_gemini
from storage import Damaged, NotFound, Storage, keys

_LITTLE_KNOWN = "little is known of this song: neither its genre nor its instruments are stated"
_NONE_HEARD = ", and none was heard clearly"
_STATE_THEM = "; state them in metadata_per_file, or in the web app's fields Genre and Instruments"

_CAPTION = TypeAdapter(Caption)

log = logging.getLogger("producer_twin.preprocessing")


@dataclass(frozen=True)
class Clip:
    """A file to train on, in the working folder.

    Attributes:
        song: index of the source that it was cut from.
        gain: what training adds to the file's level, in dB.
    """

    path: Path
    caption: Caption
    seconds: float
    song: int
    gain: float = 0.0


@dataclass(frozen=True)
class Dataset:
    clips: list[Clip]
    record: dict[str, Any]


def prepare(
    request: TrainRequest,
    job_id: str,
    storage: Storage,
    workdir: Path,
    settings: Settings,
    *,
    native_rate: int,
    native_channels: int,
    traits: Traits = DEFAULT_TRAITS,
    report: Callable[[State], object] = lambda _: None,
    on_progress: OnProgress = ignore,
) -> Dataset:
    """Make the job's dataset.

    Args:
        workdir: where the clips' files are written; the caller removes it.
        native_rate: the backend's sample rate in Hz, for the profile "native".
        native_channels: the backend's channels, likewise.
        traits: of the checkpoint that will be trained on.
        report: called with each state that the job enters.
        on_progress: called as the stages proceed.

    Raises:
        Refusal: a source cannot be used; the message names it.
    """
    report("preparing")
    with_gemini = uses_gemini(request, settings)
    rate, channels = CONTRACT_RATE, CONTRACT_CHANNELS
    if (request.profile or settings.segment_profile) == "native":
        rate, channels = native_rate, native_channels
    with temporary_space():
        sources = list(collect(request, job_id, storage, workdir / "sources", settings, on_progress))
        lengths = [source.info.seconds for source in sources]
        meter = StageMeter("analysing", "songs", lengths, on_progress)
        songs = [_analyse(source, request) for source in meter.over(sources)]
        analyses = [song.analysis for song in songs]
        firsts = duplicates([each.fingerprint for each in analyses], [each.unfingerprinted for each in analyses])
        for song, first in zip(songs, firsts, strict=True):
            song.duplicate_of = first
        count = 0
        meter = StageMeter("cutting", "songs", lengths, on_progress)
        for number, song in meter.over(enumerate(songs)):
            song = songs[number] = _cut(song, request, workdir, count, rate, channels, traits)
            count += len(song.pieces)
    if not count:
        raise Refusal(
            400, f"{source_field(request)}: there is no second of audible sound in them; send audio to train on"
        )
    tagging = None
    if settings.tagger != "none":
        tagging = _listen(songs, on_progress)
    if with_gemini:
        report("tagging")
        tagging = _ask_gemini(songs, storage, settings, on_progress)
    _warn_of_unknown(songs, tagging)
    pieces = [piece for song in songs for piece in song.pieces]
    captions = normalize_dataset(songs[piece.song].clip_info(piece) for piece in pieces)
    for piece, caption in zip(pieces, captions, strict=True):
        piece.caption = caption
    record = make_record(request, job_id, songs, tagging, settings)
    _write(request, job_id, storage, songs, record)
    clips = zip(pieces, captions, strict=True)
    return Dataset(
        [Clip(piece.path, caption, piece.seconds, piece.song, piece.gain) for piece, caption in clips], record
    )


def restore(record: Mapping[str, Any], storage: Storage, workdir: Path, *, traits: Traits = DEFAULT_TRAITS) -> Dataset:
    """Bring a stored dataset back, to train on it again.

    The text files beside the segments are read again: a segment whose text was edited gets a new caption.

    Args:
        workdir: where the clips' files are written.
        traits: of the checkpoint that will be trained on, which may be another one than the dataset was made for.

    Raises:
        Refusal: 409 if a segment is gone or has changed.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    files, parts = record["files"], record["segments"]
    captions, paths = [], []
    for part in parts:
        key = keys.from_path(part["path"])
        path = workdir / Path(key).name
        with temporary_space():
            try:
                storage.get_file(key, path)
            except (NotFound, Damaged) as error:
                raise _incomplete(part["path"]) from error
        if digest(path) != part["sha256"]:
            raise _incomplete(part["path"])
        file = files[part["file"]]
        line = _text(storage, keys.job_text(record["job_id"], path.stem))
        vocal = (part.get("caption") or {}).get("vocal")
        embedded, analysis = file.get("embedded") or {}, file.get("analysis", {})
        info = ClipInfo(file["source"], file["metadata"], analysis, line, embedded=embedded, vocal=vocal)
        captions.append(restored_caption(info, _stored_caption(part)))
        paths.append(path)
    clips = [
        Clip(path, caption, part["seconds"], part["file"], _gain(part, files[part["file"]], traits))
        for path, caption, part in zip(paths, captions, parts, strict=True)
    ]
    return Dataset(clips, dict(record))


def _incomplete(path: str) -> Refusal:
    return Refusal(409, f"{path}: it is gone or not as it was; train again from the files")


def _stored_caption(part: Mapping[str, Any]) -> Caption | None:
    try:
        return _CAPTION.validate_python(part.get("caption"))
    except ValidationError:
        return None


def _gain(part: Mapping[str, Any], file: Mapping[str, Any], traits: Traits) -> float:
    """The gain of a stored segment for a checkpoint with these traits."""
    gain, level = part.get("gain", 0.0), file.get("training_level")
    if level:
        gain += training_gain(level["loudness"], level["true_peak"], traits) - level["gain"]
    return round(gain, 2)


def _text(storage: Storage, key: str) -> str:
    try:
        return storage.get(key).decode(errors="replace")
    except (NotFound, Damaged):
        return ""


def _analyse(source: Source, request: TrainRequest) -> Song:
    embedded = embedded_tags(source.path, source.info.format)
    return _isolated(source, analyse_source, source, request.metadata[source.index], embedded)


def _cut(
    song: Song, request: TrainRequest, workdir: Path, first: int, rate: int, channels: int, traits: Traits
) -> Song:
    """The song with its pieces; a duplicate has none."""
    if song.duplicate_of is not None:
        log.warning("%s is left out: it is the same as file %d", song.source.display_name, song.duplicate_of)
        return song
    if request.skip_preprocess:
        return _isolated(song.source, keep_whole, song, workdir)
    return _isolated(song.source, cut, song, workdir / "audio", first, rate, channels, request.segment_on, traits)


def _isolated(source: Source, function: Callable[..., Song], *arguments: Any) -> Song:
    with refusing(f"{source.field}: {source.display_name}"):
        return ANALYSIS.call(PREPARE, function, *arguments)


def _listen(songs: list[Song], on_progress: OnProgress) -> TaggingSummary:
    from preprocessing.tagger.listen import describe  # it imports torch, which the front must not

    meter = StageMeter("listening", "songs", [len(song.pieces) for song in songs], on_progress)
    for song in meter.over(songs):
        for piece, heard in zip(song.pieces, describe([piece.excerpt for piece in song.pieces]), strict=True):
            piece.heard = heard
    pieces = [piece for song in songs for piece in song.pieces]
    tagged = sum(bool(piece.heard.words) for piece in pieces)
    return TaggingSummary("musicnn", tagged, len(pieces) - tagged)


def _ask_gemini(songs: list[Song], storage: Storage, settings: Settings, on_progress: OnProgress) -> TaggingSummary:
    pieces = [piece for song in songs for piece in song.pieces]
    captions = normalize_dataset(songs[piece.song].clip_info(piece) for piece in pieces)
    excerpts = [(piece.excerpt, caption) for piece, caption in zip(pieces, captions, strict=True)]
    tagging = tag(excerpts, settings, storage, on_progress)
    for piece, tags in zip(pieces, tagging.tags, strict=True):
        piece.tags = tags
    untagged = tagging.tags.count(None)
    if untagged:
        log.warning("%d of %d segments stay untagged. %s", untagged, len(pieces), tagging.reason)
    return TaggingSummary(settings.gemini_model, len(pieces) - untagged, untagged, tagging.calls, tagging.reason)


def _warn_of_unknown(songs: list[Song], tagging: TaggingSummary | None) -> None:
    warning = _LITTLE_KNOWN + (_NONE_HEARD if tagging else "") + _STATE_THEM
    unknown = [song for song in songs if song.pieces and not song.is_known()]
    for song in unknown:
        song.warnings.append(warning)
    if unknown:
        log.warning("little is known of %d of %d songs: neither genre nor instruments", len(unknown), len(songs))


def _write(request: TrainRequest, job_id: str, storage: Storage, songs: list[Song], record: Mapping[str, Any]) -> None:
    producer = request.producer_id
    job_files: dict[str, training_folder.Content] = {}
    newest_files: dict[str, training_folder.Content] = {}
    for number, piece in enumerate(piece for song in songs for piece in song.pieces):
        extension = piece.path.suffix[1:]
        job_files[keys.job_audio(job_id, number, extension)] = piece.path
        newest_files[keys.training_audio(producer, number, extension)] = piece.path
        if line := songs[piece.song].line(piece)[0]:
            stem, content = f"seg_{number:04d}", (line + "\n").encode()
            job_files[keys.job_text(job_id, stem)] = content
            newest_files[keys.training_text(producer, stem)] = content
    fetched = {song.source.key: song.source.path for song in songs if request.upload_urls}
    training_folder.put_all(storage, fetched | job_files)
    text = plain_json.encode(record, indent=1)
    storage.put(keys.dataset_record(producer, job_id), text)
    training_folder.replace(storage, producer, job_id, newest_files, text)
