"""The twins in storage: found by id, listed, saved to every place that clients know, deleted from all of them.

What a twin is now is said by `loras/<producer>_<model>.safetensors`, which is one object and so never a mixture.
`models/<producer>/` is the producer's newest as a PEFT folder, and `lora_versions/` has every version under its own
name, which nobody writes over. Writers of one producer's twins hold a lease, so that all places agree in the end.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from adapters import bento_store
from adapters.adapter_file import Header, InvalidAdapter, header_length, parse_header
from adapters.peft_config import peft_config
from adapters.twin_file import Twin, is_whole, read_twin
from adapters.twin_names import Names, parts_of
from core.errors import Refusal
from storage import Damaged, Entry, NotFound, Storage, Unavailable, keys, records
from storage.leases import Lost, lease

__all__ = ["Library", "Twin", "is_whole", "no_twin"]

# How many twins' headers are remembered for when storage is away.
_KNOWN = 4096
_AWAY_SECONDS = 3.0
_AT_ONCE = 8

T = TypeVar("T")


def no_twin(lora_id: str, reasons: Sequence[str] = ()) -> Refusal:
    name, _, version = lora_id.partition("@")
    mend = f"see /loras/{name}/versions" if version else "train it first"
    return Refusal(404, "; ".join([f"lora_id: there is no twin {lora_id}; {mend}", *reasons]))


class Library:
    """What is stored is read anew each time: another replica may have trained or deleted a twin meanwhile."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.names = Names(storage)
        self._known: OrderedDict[str, list[Twin]] = OrderedDict()
        self._remembering = threading.Lock()
        self._away_until = 0.0

    def find(self, lora_id: str) -> list[Twin]:
        """The twin's file: from either path, usually twice the same, or that of the version which the id names.

        Raises:
            Refusal: 404, saying what was found instead where something was.
        """
        name, _, version = lora_id.partition("@")
        found, reasons = self._copies(name, self._places(name, version))
        if version:
            found = [twin for twin in found if twin.header.version == version][:1]
        elif not found:
            # Neither path has it, so the copy of what was last put there serves.
            last = self.names.published(name)
            found = self._copies(name, [keys.lora_version(*parts_of(name), last)])[0] if last else []
        if not found:
            self._forget(lora_id)
            raise no_twin(lora_id, reasons)
        return found

    def find_or_recall(self, lora_id: str) -> list[Twin]:
        """The same, and while storage is away what was found last: a runner may have it in its cache."""
        known = self._known.get(lora_id)
        if known and time.monotonic() < self._away_until:
            return known
        try:
            found = self.find(lora_id)
        except Unavailable:
            if not known:
                raise
            # Not every request need find out anew that it is away.
            self._away_until = time.monotonic() + _AWAY_SECONDS
            return known
        with self._remembering:
            self._known[lora_id] = found
            self._known.move_to_end(lora_id)
            while len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        return found

    def all(self, producer: str | None = None) -> Iterator[Twin]:
        """Every valid twin, or a producer's."""
        for twin in self._valid(self.storage.list("loras/" if producer is None else f"loras/{producer}_"), _is_lora):
            if producer in (None, twin.header.producer_id):
                yield twin

    def versions(self, lora_id: str) -> list[Twin]:
        """Every version of a twin, the newest first. Raises Refusal (404) if there is none."""
        stored = self._valid(self.storage.list(keys.lora_versions(*parts_of(lora_id))), _is_version)
        found = {twin.header.version: twin for twin in stored}
        try:
            present = self.find(lora_id)[0]
            found.setdefault(present.header.version, present)
        except Refusal as refusal:
            if not found or refusal.status != 404:
                raise
        return sorted(found.values(), key=lambda twin: twin.header.created_at, reverse=True)

    def presence(self) -> Callable[[str, str, str], bool]:
        """Whether storage has a file of a twin's version, as it is now: by producer, model, and version."""
        folders = ("loras/", "lora_versions/", "models/")
        stored = {entry.key for folder in folders for entry in self.storage.list(folder)}

        def has(producer: str, model: str, version: str) -> bool:
            if keys.lora_version(producer, model, version) in stored:
                return True
            # A file that somebody put there by hand has no other place; whose it is, only its header says.
            by_hand = [key for key in (keys.lora(producer, model), keys.model(producer)) if key in stored]
            copies = self._copies(f"{producer}:{model}", by_hand)[0]
            return any(twin.header.version == version for twin in copies)

        return has

    def exists(self, lora_id: str) -> bool:
        """Whether a file of the twin is stored."""
        return self._present(lora_id) is not None

    def save(self, data: bytes, header: Header) -> bool:
        """Make this the twin's version: in storage, and in the Bento model store. `header` is the file's own.

        One whose training was cancelled on the way does not take the place of a whole one, but is kept as a version
        beside it. Returns whether it is what the twin's id stands for now.
        """
        producer, model = header.producer_id, header.model_name
        self.names.reserve(producer, model)
        self.storage.put(keys.lora_version(producer, model, header.version), data)
        if header.partial and self._has_whole(header.lora_id):
            return False
        self._publish(data, header, newest=True)
        bento_store.save(header, data)
        return True

    def add(self, data: bytes) -> Twin:
        """`save` of a file with its own header. Returns the twin."""
        end = 8 + header_length(data)
        header = parse_header(data[8:end], len(data))
        self.save(data, header)
        return Twin(keys.lora(header.producer_id, header.model_name), header, len(data))

    def roll_back(self, lora_id: str, version: str) -> Twin:
        """Make a version that a twin had its version again. Whoever generates with the present one ends undisturbed.

        Raises:
            Refusal: 404 where there is no such version, or every copy of it is damaged.
        """
        twin = self.find(f"{lora_id}@{version}")[0]
        data = self.read(twin)
        self.names.reserve(*parts_of(lora_id))
        self._publish(data, twin.header, newest=False)
        return self.find(lora_id)[0]

    def delete(self, lora_id: str, even_damaged: bool = False) -> list[str]:
        """Remove the twin from both paths, all its versions, damaged files included, and the Bento model store.

        Args:
            even_damaged: whether to do so without a whole file that says that there is such a twin.

        Returns the keys that went.

        Raises:
            Refusal: 404.
        """
        producer, model = parts_of(lora_id)
        if not even_damaged and not self._left(lora_id):
            self.versions(lora_id)
        self._forget(lora_id)

        def remove(check: Callable[[], None]) -> list[str]:
            # What others find the twin by goes last: if this breaks off, it can be done again.
            doomed = [entry.key for entry in self.storage.list(keys.lora_versions(producer, model))]
            if not self._of_another(keys.model(producer), lora_id):
                doomed += [keys.model_config(producer), keys.model(producer)]
            owner = self.names.owner(lora_id)
            if owner in (lora_id, None) and not self._of_another(keys.lora(producer, model), lora_id):
                doomed += [keys.lora(producer, model), keys.lora_owner(producer, model)]
            gone = []
            for key in doomed:
                check()
                if self.storage.delete(key):
                    gone.append(key)
            return gone

        try:
            gone = self._with_lease(producer, f"delete {lora_id}", remove)
        except Unavailable as error:
            if error.status != 507:
                raise
            # Where there is no room for the lease, nobody else can write either, and deleting makes room.
            gone = remove(lambda: None)
        with contextlib.suppress(Unavailable):  # the copies elsewhere are looked for later, then
            self.storage.put(keys.lora_deletions(), uuid.uuid4().hex.encode())  # it names nobody
        bento_store.delete(lora_id)
        return gone

    def read(self, twin: Twin) -> bytes:
        """The whole file, from wherever it is as its digest says.

        Raises:
            Refusal: 404 where it is gone, or every copy is damaged.
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
            if is_whole(data, twin.header):
                return data
            damaged = True
        name = f"{twin.header.lora_id}@{twin.header.version}"
        if damaged:
            raise Refusal(404, f"lora_id: every copy of {name} in storage is damaged; train it again, or roll back")
        raise Refusal(404, f"lora_id: {name} was deleted meanwhile")

    def _forget(self, lora_id: str) -> None:
        """A twin with its versions, or one of them."""
        with self._remembering:
            for name in [name for name in self._known if lora_id in (name, name.partition("@")[0])]:
                del self._known[name]

    def _publish(self, data: bytes, header: Header, newest: bool) -> None:
        """Put a version where clients look. `newest` says that it is the producer's newest as well."""
        producer, model = header.producer_id, header.model_name

        def write(check: Callable[[], None]) -> None:
            if newest or not self._of_another(keys.model(producer), header.lora_id):
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
        """Do idempotent work under the lease, again if the lease was lost on the way."""
        while True:
            try:
                with lease(self.storage, keys.lora_lease(producer), holder) as check:
                    return work(check)
            except Lost:
                continue

    def _places(self, lora_id: str, version: str) -> list[str]:
        producer, model = parts_of(lora_id)
        versioned = [keys.lora_version(producer, model, version)] if version else []
        return [*versioned, keys.lora(producer, model), keys.model(producer)]

    def _copies(self, lora_id: str, places: list[str]) -> tuple[list[Twin], list[str]]:
        """The twin's files in some places, and why others are none."""
        found, reasons = [], []
        for key in places:
            try:
                twin = read_twin(self.storage, key)
                if twin.header.lora_id != lora_id:
                    raise InvalidAdapter(f"it is the twin {twin.header.lora_id}")
                found.append(twin)
            except NotFound:
                continue
            except InvalidAdapter as reason:
                reasons.append(f"{keys.to_path(key)} was skipped: {reason}")
        return found, reasons

    def _has_whole(self, lora_id: str) -> bool:
        present = self._present(lora_id)
        return present is not None and not present.header.partial

    def _present(self, lora_id: str) -> Twin | None:
        """The twin's first file, None if there is no twin; that storage is away says neither."""
        try:
            return self.find(lora_id)[0]
        except Refusal as refusal:
            if refusal.status != 404:
                raise
            return None

    def _valid(self, entries: Iterable[Entry], is_place: Callable[[Twin], bool]) -> Iterator[Twin]:
        """Those of the objects that are adapters where `is_place` has them, several headers being read at once."""

        def read(entry: Entry) -> Twin | None:
            try:
                twin = read_twin(self.storage, entry.key, entry)
            except NotFound:
                return None
            except InvalidAdapter as reason:
                records.report(entry.key, str(reason))
                return None
            if not is_place(twin):
                records.report(entry.key, f"it is the twin {twin.header.lora_id}@{twin.header.version}")
                return None
            records.clear(entry.key)
            return twin

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from (twin for twin in pool.map(read, entries) if twin)

    def _left(self, lora_id: str) -> bool:
        """Whether there are files under the twin's name, be they damaged."""
        producer, model = parts_of(lora_id)
        if any(True for _ in self.storage.list(keys.lora_versions(producer, model))):
            return True
        return self.names.owner(lora_id) == lora_id and self.storage.stat(keys.lora(producer, model)) is not None

    def _of_another(self, key: str, lora_id: str) -> bool:
        """Whether a valid twin lies there that is not this one."""
        try:
            return read_twin(self.storage, key).header.lora_id != lora_id
        except (NotFound, InvalidAdapter):
            return False


def _is_lora(twin: Twin) -> bool:
    return twin.key == keys.lora(twin.header.producer_id, twin.header.model_name)


def _is_version(twin: Twin) -> bool:
    header = twin.header
    return twin.key == keys.lora_version(header.producer_id, header.model_name, header.version)
