"""The adapters (to users: twins) in storage: find, list, save, roll back, delete.

`loras/<producer>_<model>.safetensors` is the current version of a twin: a single object, so that readers never see two
versions mixed. `models/<producer>/` is the producer's newest twin as a PEFT folder. `lora_versions/` keeps every
version under its digest and is never overwritten. Writers of one producer's twins hold a lease, so that all of
these agree in the end.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from adapters import bento_store
from adapters.adapter_file import Header, InvalidAdapter, header_length, parse_header
from adapters.lookup_cache import LookupCache
from adapters.name_registry import NameRegistry, parts_of
from adapters.peft_config import peft_config
from adapters.stored_adapter import StoredAdapter, is_current, is_intact, is_version, read_listed, read_stored
from core.errors import Refusal
from storage import Damaged, NotFound, Storage, Unavailable, keys
from storage.leases import Lost, lease

T = TypeVar("T")


def twin_not_found(lora_id: str, reasons: Sequence[str] = ()) -> Refusal:
    name, _, version = lora_id.partition("@")
    advice = f"see /loras/{name}/versions" if version else "train it first"
    return Refusal(404, "; ".join([f"lora_id: there is no twin {lora_id}; {advice}", *reasons]))


class Library:
    """All twins in one storage.

    Storage is read at every call, because another replica may have trained or deleted a twin meanwhile.

    Attributes:
        storage: where the files are.
        names: which twin a file name belongs to.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.names = NameRegistry(storage)
        self._lookups = LookupCache()

    def find(self, lora_id: str) -> list[StoredAdapter]:
        """Find a twin's current file, or that of the version in `<twin>@<version>`.

        Returns:
            The valid files under the twin's keys, of which there is at least one. Usually two are the same file.

        Raises:
            Refusal: 404. It names the files that were skipped, and why.
        """
        name, _, version = lora_id.partition("@")
        found, reasons = self._copies(name, self._keys_of(name, version))
        if version:
            found = [twin for twin in found if twin.header.version == version][:1]
        elif not found:
            # Neither key has it: use the stored copy of the version that was last written there.
            last = self.names.published(name)
            found = self._copies(name, [keys.lora_version(*parts_of(name), last)])[0] if last else []
        if not found:
            self._lookups.forget(lora_id)
            raise twin_not_found(lora_id, reasons)
        return found

    def find_or_recall(self, lora_id: str) -> list[StoredAdapter]:
        """`find`, or its last result while storage is unavailable: a runner may still have the file in its cache."""
        known = self._lookups.get(lora_id)
        if known and self._lookups.storage_is_unavailable:
            return known
        try:
            found = self.find(lora_id)
        except Unavailable:
            if not known:
                raise
            self._lookups.note_unavailable()
            return known
        self._lookups.put(lora_id, found)
        return found

    def all(self, producer: str | None = None) -> Iterator[StoredAdapter]:
        """Every valid twin, of one producer or of all."""
        prefix = "loras/" if producer is None else f"loras/{producer}_"
        for twin in read_listed(self.storage, self.storage.list(prefix), is_current):
            if producer in (None, twin.header.producer_id):
                yield twin

    def versions(self, lora_id: str) -> list[StoredAdapter]:
        """Every version of a twin, newest first. Raises Refusal (404) if there is none."""
        listed = self.storage.list(keys.lora_versions(*parts_of(lora_id)))
        stored = read_listed(self.storage, listed, is_version)
        found = {twin.header.version: twin for twin in stored}
        try:
            present = self.find(lora_id)[0]
            found.setdefault(present.header.version, present)
        except Refusal as refusal:
            if not found or refusal.status != 404:
                raise
        return sorted(found.values(), key=lambda twin: twin.header.created_at, reverse=True)

    def presence(self) -> Callable[[str, str, str], bool]:
        """List storage once. The function returned says whether it has a version, by producer, model and version."""
        folders = ("loras/", "lora_versions/", "models/")
        stored = {entry.key for folder in folders for entry in self.storage.list(folder)}

        def has(producer: str, model: str, version: str) -> bool:
            if keys.lora_version(producer, model, version) in stored:
                return True
            # A file that was put there by hand is under no version, and only its header says whose it is.
            unversioned = [key for key in (keys.lora(producer, model), keys.model(producer)) if key in stored]
            copies = self._copies(f"{producer}:{model}", unversioned)[0]
            return any(twin.header.version == version for twin in copies)

        return has

    def exists(self, lora_id: str) -> bool:
        """Whether a valid file of the twin is stored."""
        return self._current(lora_id) is not None

    def save(self, data: bytes, header: Header) -> bool:
        """Save a file as the twin's current version, in storage and in the Bento model store.

        A partial one, whose training was cancelled, does not replace a complete one: it is only kept as a version.

        Args:
            data: the file.
            header: its header.

        Returns:
            Whether it became the current version.
        """
        producer, model = header.producer_id, header.model_name
        self.names.reserve(producer, model)
        self.storage.put(keys.lora_version(producer, model, header.version), data)
        if header.partial and self._has_complete(header.lora_id):
            return False
        self._publish(data, header, newest=True)
        bento_store.save(header, data)
        return True

    def add(self, data: bytes) -> StoredAdapter:
        """Save a file as the current version of the twin that its header names."""
        end = 8 + header_length(data)
        header = parse_header(data[8:end], len(data))
        self.save(data, header)
        return StoredAdapter(keys.lora(header.producer_id, header.model_name), header, len(data))

    def roll_back(self, lora_id: str, version: str) -> StoredAdapter:
        """Make an earlier version current again. Tracks that are being generated with the present one are not affected.

        Raises:
            Refusal: 404 if there is no such version, or every copy of it is damaged.
        """
        twin = self.find(f"{lora_id}@{version}")[0]
        data = self.read(twin)
        self.names.reserve(*parts_of(lora_id))
        self._publish(data, twin.header, newest=False)
        return self.find(lora_id)[0]

    def delete(self, lora_id: str, even_damaged: bool = False) -> list[str]:
        """Delete a twin: all its versions, damaged files included, and its copies in this machine's Bento model store.

        Args:
            even_damaged: whether to delete files under its name even if no valid one proves that there is such a twin.

        Returns:
            The keys that were deleted.

        Raises:
            Refusal: 404.
        """
        producer, model = parts_of(lora_id)
        if not even_damaged and not self._has_files(lora_id):
            self.versions(lora_id)
        self._lookups.forget(lora_id)

        def remove(check: Callable[[], None]) -> list[str]:
            # The files by which the twin is found are deleted last, so that an interrupted deletion can be repeated.
            to_delete = [entry.key for entry in self.storage.list(keys.lora_versions(producer, model))]
            if not self._is_of_another(keys.model(producer), lora_id):
                to_delete += [keys.model_config(producer), keys.model(producer)]
            owner = self.names.owner(lora_id)
            if owner in (lora_id, None) and not self._is_of_another(keys.lora(producer, model), lora_id):
                to_delete += [keys.lora(producer, model), keys.lora_owner(producer, model)]
            gone = []
            for key in to_delete:
                check()
                if self.storage.delete(key):
                    gone.append(key)
            return gone

        try:
            gone = self._with_lease(producer, f"delete {lora_id}", remove)
        except Unavailable as error:
            if error.status != 507:
                raise
            # A full disk has no room for the lease. Other processes cannot write either, and deleting makes room.
            gone = remove(lambda: None)
        # Other machines watch this object, and remove their copies of deleted twins. Its random value reveals no twin.
        with contextlib.suppress(Unavailable):
            self.storage.put(keys.lora_deletions(), uuid.uuid4().hex.encode())
        bento_store.delete_twin(lora_id)
        return gone

    def read(self, twin: StoredAdapter) -> bytes:
        """Read the file, from the first of its keys at which it is intact.

        Raises:
            Refusal: 404 if it was deleted, or every copy is damaged.
        """
        damaged = False
        for key in (twin.key, *twin.spares):
            try:
                data = self.storage.get(key)
            except NotFound:
                continue
            except Damaged:
                damaged = True
                continue
            if is_intact(data, twin.header):
                return data
            damaged = True
        name = f"{twin.header.lora_id}@{twin.header.version}"
        if damaged:
            raise Refusal(404, f"lora_id: every copy of {name} in storage is damaged; train it again, or roll back")
        raise Refusal(404, f"lora_id: {name} was deleted meanwhile")

    def _publish(self, data: bytes, header: Header, newest: bool) -> None:
        """Write the current version of a twin; `newest`: it is the producer's newest twin as well."""
        producer, model = header.producer_id, header.model_name

        def write(check: Callable[[], None]) -> None:
            if newest or not self._is_of_another(keys.model(producer), header.lora_id):
                config = peft_config(data, header)
                if config is None:
                    self.storage.delete(keys.model_config(producer))
                else:
                    self.storage.put(keys.model_config(producer), config)
                check()
                self.storage.put(keys.model(producer), data)
            check()
            self.storage.put(keys.lora(producer, model), data)
            self.storage.put(keys.lora_owner(producer, model), f"{header.lora_id}@{header.version}".encode())

        self._with_lease(producer, f"{header.lora_id}@{header.version}", write)

    def _with_lease(self, producer: str, holder: str, work: Callable[[Callable[[], None]], T]) -> T:
        """Run `work` while no other process writes the producer's twins, again if another one took over meanwhile."""
        while True:
            try:
                with lease(self.storage, keys.lora_lease(producer), holder) as check:
                    return work(check)
            except Lost:
                continue

    def _keys_of(self, lora_id: str, version: str) -> list[str]:
        """The keys at which a twin's current file, or that of a version, may be."""
        producer, model = parts_of(lora_id)
        versioned = [keys.lora_version(producer, model, version)] if version else []
        return [*versioned, keys.lora(producer, model), keys.model(producer)]

    def _copies(self, lora_id: str, candidates: list[str]) -> tuple[list[StoredAdapter], list[str]]:
        """The twin's valid files at some keys, and why other files there were skipped."""
        found, reasons = [], []
        for key in candidates:
            try:
                twin = read_stored(self.storage, key)
                if twin.header.lora_id != lora_id:
                    raise InvalidAdapter(f"it is the twin {twin.header.lora_id}")
                found.append(twin)
            except NotFound:
                continue
            except InvalidAdapter as reason:
                reasons.append(f"{keys.to_path(key)} was skipped: {reason}")
        return found, reasons

    def _has_complete(self, lora_id: str) -> bool:
        current = self._current(lora_id)
        return current is not None and not current.header.partial

    def _current(self, lora_id: str) -> StoredAdapter | None:
        """The twin's current file, None if there is no twin. Raises Refusal if storage cannot be reached."""
        try:
            return self.find(lora_id)[0]
        except Refusal as refusal:
            if refusal.status != 404:
                raise
            return None

    def _has_files(self, lora_id: str) -> bool:
        """Whether there are files under the twin's name, valid or damaged."""
        producer, model = parts_of(lora_id)
        if any(True for _ in self.storage.list(keys.lora_versions(producer, model))):
            return True
        return self.names.owner(lora_id) == lora_id and self.storage.stat(keys.lora(producer, model)) is not None

    def _is_of_another(self, key: str, lora_id: str) -> bool:
        """Whether the file at `key` is a valid one of another twin."""
        try:
            return read_stored(self.storage, key).header.lora_id != lora_id
        except (NotFound, InvalidAdapter):
            return False
