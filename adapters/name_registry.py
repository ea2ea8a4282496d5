"""Which twin a file name in `loras/` belongs to: producer `a_b` with model `c`, and `a` with `b_c`, share one.

`lora_owners/` holds a record for each file name, taken by a conditional write, so that replicas do not race.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from adapters.adapter_file import InvalidAdapter
from adapters.stored_adapter import read_stored
from contract import is_id, is_version
from core.errors import Refusal
from storage import AlreadyExists, Changed, Damaged, NotFound, Storage, keys, records


class NameRegistry:
    """The owners of the file names in `loras/`."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def reserve(self, producer: str, model: str, in_use: Callable[[str], bool] = lambda owner: True) -> None:
        """Reserve a twin's file name.

        Args:
            in_use: whether the twin that owns the name is stored or being trained; if not, the name gets a new owner.

        Raises:
            Refusal: 409, another twin owns the name.
        """
        lora_id = f"{producer}:{model}"
        key = keys.lora_owner(producer, model)
        try:
            self.storage.put(key, lora_id.encode(), if_absent=True)
            return
        except AlreadyExists:
            pass
        with contextlib.suppress(Changed, NotFound):
            owner, etag = self._owner_of(producer, model)
            if owner == lora_id:
                return
            if owner is None or not in_use(owner):
                self.storage.put(key, lora_id.encode(), if_match=etag)
                return
        raise _taken(lora_id)

    def check(self, producer: str, model: str, in_use: Callable[[str], bool]) -> None:
        """Raise what `reserve` would raise, as far as that is known without writing."""
        with contextlib.suppress(NotFound):
            owner, _ = self._owner_of(producer, model)
            if owner not in (None, f"{producer}:{model}") and in_use(owner):
                raise _taken(f"{producer}:{model}")

    def of_producer(self, producer: str) -> Iterator[str]:
        """The records' keys of the file names that a producer's twins own, whether these are stored or not."""
        for entry, (owner, _) in records.read_all(
            self.storage, self.storage.list(f"lora_owners/{producer}_"), _parse_owner
        ):
            if owner.partition(":")[0] == producer:
                yield entry.key

    def published(self, lora_id: str) -> str | None:
        """The version of the twin that was last written to `loras/`, None if unknown."""
        try:
            owner, version = records.read(self.storage, keys.lora_owner(*parts_of(lora_id)), _parse_owner)[0]
        except (NotFound, Damaged):
            return None
        return version if owner == lora_id and version else None

    def owner(self, lora_id: str) -> str | None:
        """The id of the twin that owns this twin's file name, None if unknown."""
        try:
            return self._owner_of(*parts_of(lora_id))[0]
        except NotFound:
            return None

    def _owner_of(self, producer: str, model: str) -> tuple[str | None, str]:
        """The owner of a file name, and the etag of the record. Raises NotFound.

        If the record is damaged, the owner is read from the header of the file itself.
        """
        key = keys.lora_owner(producer, model)
        try:
            (owner, _), etag = records.read(self.storage, key, _parse_owner)
            return owner, etag
        except Damaged:
            etag = records.etag_of(self.storage, key) or ""
        try:
            return read_stored(self.storage, keys.lora(producer, model)).header.lora_id, etag
        except (NotFound, InvalidAdapter):
            return None, etag


def _taken(lora_id: str) -> Refusal:
    # The owner is not named, because the client may have no access to it.
    return Refusal(
        409, f"model_name: the file name of {lora_id} belongs to another producer's twin; choose another model_name"
    )


def parts_of(lora_id: str) -> tuple[str, str]:
    """Producer and model of a `lora_id`."""
    producer, _, model = lora_id.partition(":")
    return producer, model


def _parse_owner(data: bytes, key: str) -> tuple[str, str]:
    """The id of the owner, and the version that was last written, empty if none was."""
    owner, _, version = data.decode().partition("@")
    producer, model = parts_of(owner)
    if not is_id(producer) or not is_id(model) or (version and not is_version(version)):
        raise ValueError("it names no twin")
    if keys.lora_owner(producer, model) != key:
        raise ValueError(f"{owner} has another file name")
    return owner, version
