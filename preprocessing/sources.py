"""The files that a train request names: checked at once, brought here later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from contract import TrainRequest
from core.errors import Refusal
from core.settings import Settings
from core.text import shown
from preprocessing.decode import AudioInfo, probe
from preprocessing.fetch import check_url, fetch, without_secrets
from preprocessing.isolation import CHECK, DECODING, refusing
from preprocessing.tag import require_key
from storage import NotFound, Storage, keys


@dataclass
class Source:
    """A file that the request names, here. `key` is where storage has it, or will; `shown` is how people know it."""

    index: int
    field: str
    shown: str
    path: Path
    key: str
    info: AudioInfo


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


def collect(request: TrainRequest, job_id: str, storage: Storage, folder: Path, settings: Settings) -> Iterator[Source]:
    """Bring all sources here, in the request's order, and look at their headers. Raises Refusal, naming the file."""
    fetched = fetch(request.upload_urls or [], folder, settings)
    for index, source in enumerate(request.sources):
        name = f"{field_of(request)}[{index}]"
        if request.upload_paths:
            key, label, path = _own_key(source, request.producer_id, name), shown(source), folder / f"{index:04d}"
            try:
                storage.get_file(key, path)
            except NotFound as error:
                raise _missing(source, name) from error
        else:
            label, path = without_secrets(source), fetched[index]
            key = keys.dataset_clip(request.producer_id, job_id, index, path.suffix[1:])
        with refusing(f"{name}: {label}"):
            info = DECODING.call(CHECK, probe, path)
        # Whatever the upload was called, from here on its extension is true.
        yield Source(index, name, label, path.rename(path.with_suffix(f".{info.format}")), key, info)


def field_of(request: TrainRequest) -> str:
    """The field that names the files."""
    return "upload_paths" if request.upload_paths else "upload_urls"


def _own_key(path: str, producer: str, name: str) -> str:
    """The key of a path. Another producer's is answered as if it did not exist."""
    key = keys.from_path(path, name)
    if key.split("/")[:2] not in (["uploads", producer], ["datasets", producer]):
        raise _missing(path, name)
    return key


def _missing(path: str, name: str) -> Refusal:
    return Refusal(404, f"{name}: {shown(path)} does not exist; upload it first")
