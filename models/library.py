"""The twins in storage: found by id, listed, saved to every place that clients know, deleted from all of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from errors import Refusal
from models import bento_store
from models.adapter_file import Header, InvalidAdapter, adapted_layers, header_length, parse_header
from storage import AlreadyExists, Changed, Entry, NotFound, Storage, keys

# Enough for the header of an adapter on every layer of the real models: one read finds all of it.
_HEADER_READ = 256 * 2**10


@dataclass(frozen=True)
class Twin:
    """A stored adapter whose header was read and whose length is right.

    Attributes:
        key: where it lies.
        header: whose it is and what it fits.
        size: bytes of the file.
    """

    key: str
    header: Header
    size: int


class Library:
    """What is stored is read anew each time: another replica may have trained or deleted a twin meanwhile."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def find(self, lora_id: str) -> list[Twin]:
        """The twin's file, from either path: usually twice the same, at least once.

        Raises:
            Refusal: 404, saying what was found instead where something was.
        """
        producer, _, model = lora_id.partition(":")
        found, reasons = [], []
        for key in (keys.lora(producer, model), keys.model(producer)):
            try:
                twin = self._read(key)
                if twin.header.lora_id != lora_id:
                    raise InvalidAdapter(f"it is the twin {twin.header.lora_id}")
                found.append(twin)
            except NotFound:
                continue
            except InvalidAdapter as reason:
                reasons.append(f"{keys.to_path(key)} was skipped: {reason}")
        if not found:
            raise Refusal(404, "; ".join([f"lora_id: there is no twin {lora_id}; train it first", *reasons]))
        return found

    def all(self, producer: str | None = None) -> Iterator[Twin]:
        """Every valid twin, or a producer's."""
        for entry in self.storage.list("loras/" if producer is None else f"loras/{producer}_"):
            try:
                twin = self._read(entry.key, entry)
            except (NotFound, InvalidAdapter):
                continue
            if producer in (None, twin.header.producer_id):
                yield twin

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
            data, etag = self.storage.get_with_etag(key)
        owner = data.decode()
        if owner == lora_id:
            return
        try:
            if not in_use(owner):
                self.storage.put(key, lora_id.encode(), if_match=etag)
                return
        except Changed:
            pass
        raise Refusal(
            409, f"model_name: {lora_id} and the twin {owner} would share a file name; choose another model_name"
        )

    def exists(self, lora_id: str) -> bool:
        """Whether a file of the twin is stored."""
        try:
            return bool(self.find(lora_id))
        except Refusal:
            return False

    def save(self, data: bytes, header: Header) -> None:
        """Write the adapter to both of its paths and to the Bento model store. `header` is the file's own."""
        self.reserve(header.producer_id, header.model_name)
        self.storage.put(keys.model_config(header.producer_id), _peft_config(header, adapted_layers(data)))
        self.storage.put(keys.model(header.producer_id), data)
        self.storage.put(keys.lora(header.producer_id, header.model_name), data)
        bento_store.save(header, data)

    def delete(self, lora_id: str) -> None:
        """Remove the twin from both paths, damaged files of its included, and from the Bento model store.

        Raises:
            Refusal: 404.
        """
        producer, _, model = lora_id.partition(":")
        self.find(lora_id)
        self.storage.delete(keys.lora(producer, model))
        if not self._of_another(keys.model(producer), lora_id):
            self.storage.delete(keys.model(producer))
            self.storage.delete(keys.model_config(producer))
        self.storage.delete(keys.lora_owner(producer, model))
        bento_store.delete(lora_id)

    def read(self, key: str) -> bytes:
        """An adapter file's bytes. Raises `NotFound`."""
        return self.storage.get(key)

    def _of_another(self, key: str, lora_id: str) -> bool:
        """Whether a valid twin lies there that is not this one."""
        try:
            return self._read(key).header.lora_id != lora_id
        except (NotFound, InvalidAdapter):
            return False

    def _read(self, key: str, entry: Entry | None = None) -> Twin:
        entry = entry or self.storage.stat(key)
        if entry is None:
            raise NotFound(key)
        start = self.storage.get_range(key, 0, _HEADER_READ)
        end = 8 + header_length(start)
        if end > len(start):
            start += self.storage.get_range(key, len(start), end - len(start))
        return Twin(key, parse_header(start[8:end], entry.size), entry.size)


def _peft_config(header: Header, layers: list[str]) -> bytes:
    """What makes `models/<producer>/` a PEFT folder. Alpha equals the rank, since the scale is folded into B."""
    config = {
        "peft_type": "LORA",
        "r": header.rank,
        "lora_alpha": header.rank,
        "base_model_name_or_path": header.base,
        "target_modules": layers,
        "bias": "none",
    }
    return json.dumps(config, indent=2).encode()
