"""Adapters in the Bento model store, where a runner finds them without asking storage again.

The store lowers case and takes few characters, so a twin's name in it is a digest of its id, and its version is that
of the contents. Storage stays the truth; what is here can be made again.
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
    """BentoML's folder on this machine."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    return Path(BentoMLContainer.bentoml_home.get())


def _name(lora_id: str) -> str:
    return f"{_PREFIX}{hashlib.sha256(lora_id.encode()).hexdigest()[:40]}"


def save(header: Header, data: bytes) -> None:
    """Put the file there, unless this very version is there. Storage has it anyway: a full disk is no failure."""
    tag = f"{_name(header.lora_id)}:{header.version}"
    labels = {"backend": header.backend, "producer_id": header.producer_id, "model_name": header.model_name}
    # Two processes may bring the same version at once: one of them wins, and it is the same file.
    try:
        with contextlib.suppress(BentoMLException), bentoml.models.create(tag, labels=labels) as model:
            Path(model.path_of(_FILE)).write_bytes(data)
    except OSError as error:
        log.warning("%s is not in the model store: %s", header.lora_id, error)


def load(header: Header) -> bytes | None:
    """The file, or None if it is not in this machine's store."""
    try:
        return Path(bentoml.models.get(f"{_name(header.lora_id)}:{header.version}").path_of(_FILE)).read_bytes()
    except (BentoMLException, OSError):  # it is not there, or only a part of it
        return None


def delete(lora_id: str) -> None:
    """Remove every version from this machine's store."""
    try:
        versions = bentoml.models.list(_name(lora_id))
    except BentoMLException:  # it was trained elsewhere and never served here, or only a part of it is here
        return
    for model in versions:
        with contextlib.suppress(BentoMLException):
            bentoml.models.delete(model.tag)


@dataclass(frozen=True)
class Kept:
    """A version in this machine's store."""

    producer_id: str
    model_name: str
    version: str
    tag: bentoml.Tag

    def remove(self) -> None:
        with contextlib.suppress(BentoMLException):
            bentoml.models.delete(self.tag)


def kept() -> Iterator[Kept]:
    """Every version of every twin in this machine's store."""
    # Not by BentoML's own list, which fails as a whole where one entry is damaged.
    for folder in home().glob(f"models/{_PREFIX}*/*/"):
        tag = bentoml.Tag(folder.parent.name, folder.name)
        try:
            labels = bentoml.models.get(tag).info.labels
            kept = Kept(labels["producer_id"], labels["model_name"], folder.name, tag)
        except Exception as error:  # noqa: BLE001 - whatever a damaged entry makes of BentoML
            log.warning("%s in the model store is damaged and is left out: %s", tag, type(error).__name__)
            continue
        yield kept


def discard(header: Header) -> None:
    """Remove one version that turned out to be damaged."""
    with contextlib.suppress(BentoMLException):
        bentoml.models.delete(f"{_name(header.lora_id)}:{header.version}")
