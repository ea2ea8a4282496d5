"""The source files of a train request: checked on submission, fetched when the job runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from contract import TrainRequest
from core.errors import Refusal
from core.settings import Settings
from core.text import shown
from preprocessing.decode import AudioInfo, probe
from preprocessing.fetch import check_url, fetch, redacted
from preprocessing.isolation import CHECK, DECODING, refusing
from preprocessing.stages import OnProgress, StageMeter, ignore
from preprocessing.tag import uses_gemini
from storage import NotFound, Storage, keys


@dataclass
class Source:
    """A source file, fetched to a local folder.

    Attributes:
        field: of the request, such as `upload_paths[0]`.
        display_name: path or URL, as messages and the record show it.
        path: the local copy.
        key: of the file in storage; a download is stored there with the dataset.
    """

    index: int
    field: str
    display_name: str
    path: Path
    key: str
    info: AudioInfo


def check_sources(request: TrainRequest, storage: Storage, settings: Settings) -> None:
    """Refuse a request whose sources cannot be used, as far as that shows without downloading or decoding.

    Raises:
        Refusal: 400 for a malformed path or URL and for tagging without a key; 404 for a path that does not exist, or
            is not this producer's.
    """
    uses_gemini(request, settings)
    for index, path in enumerate(request.upload_paths or []):
        name = f"upload_paths[{index}]"
        if storage.stat(_own_key(path, request.producer_id, name)) is None:
            raise _missing(path, name)
    for index, url in enumerate(request.upload_urls or []):
        check_url(url, f"upload_urls[{index}]")


def collect(
    request: TrainRequest,
    job_id: str,
    storage: Storage,
    folder: Path,
    settings: Settings,
    on_progress: OnProgress = ignore,
) -> Iterator[Source]:
    """Copy or download all sources to `folder`, in the request's order, and read their headers.

    Raises:
        Refusal: naming the file.
    """
    meter = StageMeter("fetching", "songs", [1.0] * len(request.sources), on_progress)
    fetched = fetch(request.upload_urls or [], folder, settings, on_file=meter.advance)
    for index, source in enumerate(request.sources):
        name = f"{source_field(request)}[{index}]"
        if request.upload_paths:
            key, path = _own_key(source, request.producer_id, name), folder / f"{index:04d}"
            display_name = shown(source)
            try:
                storage.get_file(key, path)
            except NotFound as error:
                raise _missing(source, name) from error
            meter.advance()
        else:
            display_name, path = redacted(source), fetched[index]
            key = keys.dataset_clip(request.producer_id, job_id, index, path.suffix[1:])
        with refusing(f"{name}: {display_name}"):
            info = DECODING.call(CHECK, probe, path)
        # The extension follows the content, whatever the upload was called.
        yield Source(index, name, display_name, path.rename(path.with_suffix(f".{info.format}")), key, info)


def source_field(request: TrainRequest) -> str:
    """The request field that names the sources."""
    return "upload_paths" if request.upload_paths else "upload_urls"


def _own_key(path: str, producer: str, name: str) -> str:
    """The storage key of a path. Another producer's path is refused as if it did not exist."""
    key = keys.from_path(path, name)
    if key.split("/")[:2] not in (["uploads", producer], ["datasets", producer]):
        raise _missing(path, name)
    return key


def _missing(path: str, name: str) -> Refusal:
    return Refusal(404, f"{name}: {shown(path)} does not exist; upload it first")
