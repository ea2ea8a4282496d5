"""Adapters in this machine's Bento model store: a cache on disk, so that a runner need not download them again.

The store ignores case and allows few characters, so a twin's name in it is a digest of its id. Its version is that of
the file. Storage remains the source of truth.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bentoml
from bentoml.exceptions import BentoMLException

from adapters.adapter_file import Header

log = logging.getLogger("producer_twin.bento_store")

_PREFIX = "twin-"
_FILE = "adapter_model.safetensors"


def home() -> Path:
    """BentoML's home folder on this machine."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    return Path(BentoMLContainer.bentoml_home.get())


def _name(lora_id: str) -> str:
    return f"{_PREFIX}{hashlib.sha256(lora_id.encode()).hexdigest()[:40]}"


def _tag(header: Header) -> str:
    return f"{_name(header.lora_id)}:{header.version}"


def save(header: Header, data: bytes) -> None:
    """Save a file, unless this version is there already. A full disk is only logged, because storage has the file."""
    labels = {"backend": header.backend, "producer_id": header.producer_id, "model_name": header.model_name}
    # BentoML raises if another process saves the same version at the same time; the file is the same.
    try:
        with contextlib.suppress(BentoMLException), bentoml.models.create(_tag(header), labels=labels) as model:
            Path(model.path_of(_FILE)).write_bytes(data)
    except OSError as error:
        log.warning("%s was not saved to the model store: %s", header.lora_id, error)


def load(header: Header) -> bytes | None:
    """Read a file, None if it is not in this machine's store."""
    try:
        return Path(bentoml.models.get(_tag(header)).path_of(_FILE)).read_bytes()
    except (BentoMLException, OSError):  # absent or incomplete
        return None


def delete_twin(lora_id: str) -> None:
    """Delete every version of a twin from this machine's store."""
    try:
        versions = bentoml.models.list(_name(lora_id))
    except BentoMLException:  # absent (trained and served on other machines only) or incomplete
        return
    for model in versions:
        _delete(model.tag)


def delete_version(header: Header) -> None:
    """Delete one version, which turned out to be damaged."""
    _delete(_tag(header))


def _delete(tag: bentoml.Tag | str) -> None:
    with contextlib.suppress(BentoMLException):
        bentoml.models.delete(tag)


@dataclass(frozen=True)
class CachedVersion:
    """A version of a twin in this machine's store."""

    producer_id: str
    model_name: str
    version: str
    tag: bentoml.Tag

    def delete(self) -> None:
        _delete(self.tag)


def cached_versions() -> Iterator[CachedVersion]:
    """Every version of every twin in this machine's store. Damaged entries are logged and left out."""
    # BentoML's own list fails as a whole if one entry is damaged.
    for folder in home().glob(f"models/{_PREFIX}*/*/"):
        tag = bentoml.Tag(folder.parent.name, folder.name)
        try:
            labels = bentoml.models.get(tag).info.labels
            version = CachedVersion(labels["producer_id"], labels["model_name"], folder.name, tag)
        except Exception as error:  # noqa: BLE001 - a damaged entry can make BentoML raise anything
            log.warning("%s in the model store is damaged and was skipped: %s", tag, type(error).__name__)
            continue
        yield version
