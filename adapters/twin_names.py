"""Which twin a file name of `loras/` belongs to, since `a_b` + `c` and `a` + `b_c` share one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from adapters.adapter_file import InvalidAdapter
from adapters.twin_file import read_twin
from contract import is_id, is_version
from core.errors import Refusal
from storage import AlreadyExists, Changed, Damaged, NotFound, Storage, keys, records


class Names:
    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def reserve(self, producer: str, model: str, in_use: Callable[[str], bool] = lambda owner: True) -> None:
        """Take the twin's file name for it.

        Args:
            in_use: whether the twin that has the name is stored or being made; if neither, the name changes hands.

        Raises:
            Refusal: 409, another twin has the name.
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
        """Refuse what `reserve` would, as far as can be known without writing."""
        with contextlib.suppress(NotFound):
            owner, _ = self._owner_of(producer, model)
            if owner not in (None, f"{producer}:{model}") and in_use(owner):
                raise _taken(f"{producer}:{model}")

    def of_producer(self, producer: str) -> Iterator[str]:
        """The keys of the file names that are taken for a producer's twins, stored or not."""
        for entry, (owner, _) in records.read_all(
            self.storage, self.storage.list(f"lora_owners/{producer}_"), _parse_owner
        ):
            if owner.partition(":")[0] == producer:
                yield entry.key

    def published(self, lora_id: str) -> str | None:
        """The version that was last put where clients look, None if that is not known."""
        try:
            owner, version = records.read(self.storage, keys.lora_owner(*parts_of(lora_id)), _parse_owner)[0]
        except (NotFound, Damaged):
            return None
        return version if owner == lora_id and version else None

    def owner(self, lora_id: str) -> str | None:
        """Whose the twin's file name is, None if that is not known."""
        try:
            return self._owner_of(*parts_of(lora_id))[0]
        except NotFound:
            return None

    def _owner_of(self, producer: str, model: str) -> tuple[str | None, str]:
        """Whose a file name is, by the file where what says so is damaged, and that object's etag. Raises NotFound."""
        key = keys.lora_owner(producer, model)
        try:
            (owner, _), etag = records.read(self.storage, key, _parse_owner)
            return owner, etag
        except Damaged:
            etag = records.etag_of(self.storage, key) or ""
        try:
            return read_twin(self.storage, keys.lora(producer, model)).header.lora_id, etag
        except (NotFound, InvalidAdapter):
            return None, etag


def _taken(lora_id: str) -> Refusal:
    # Not whose it is, which may be none of the client's business.
    return Refusal(
        409, f"model_name: the file name of {lora_id} is another producer's twin's; choose another model_name"
    )


def parts_of(lora_id: str) -> tuple[str, str]:
    producer, _, model = lora_id.partition(":")
    return producer, model


def _parse_owner(data: bytes, key: str) -> tuple[str, str]:
    """The twin that has a file name, and the version of it that was put there, if one was."""
    owner, _, version = data.decode().partition("@")
    producer, model = parts_of(owner)
    if not is_id(producer) or not is_id(model) or (version and not is_version(version)):
        raise ValueError("it names no twin")
    if keys.lora_owner(producer, model) != key:
        raise ValueError(f"{owner} has another file name")
    return owner, version
