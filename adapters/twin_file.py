"""A twin's file in storage, known by its header."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from adapters.adapter_file import Header, InvalidAdapter, header_length, parse_header
from storage import Entry, NotFound, Storage, keys

# Enough for the header of an adapter on every layer of the real models: one read finds all of it.
_HEADER_READ = 256 * 2**10


@dataclass(frozen=True)
class Twin:
    """A stored adapter whose header was read and whose length is right.

    Attributes:
        key: where it lies.
        header: whose it is and what it fits.
        size: bytes of the file.
        spares: where the same file may lie as well, if this one turns out to be damaged or is replaced meanwhile.
    """

    key: str
    header: Header
    size: int
    spares: tuple[str, ...] = ()


def read_twin(storage: Storage, key: str, entry: Entry | None = None) -> Twin:
    """What its header says of the adapter there. Raises NotFound or InvalidAdapter."""
    entry = entry or storage.stat(key)
    if entry is None:
        raise NotFound(key)
    start = storage.get_range(key, 0, _HEADER_READ)
    end = 8 + header_length(start)
    if end > len(start):
        start += storage.get_range(key, len(start), end - len(start))
    header = parse_header(start[8:end], entry.size)
    producer, model = header.producer_id, header.model_name
    places = keys.lora_version(producer, model, header.version), keys.lora(producer, model), keys.model(producer)
    return Twin(key, header, entry.size, tuple(place for place in places if place != key))


def is_whole(data: bytes, header: Header) -> bool:
    """Whether this is the file with this header, every byte of it."""
    try:
        end = 8 + header_length(data)
        return parse_header(data[8:end], len(data)) == header and sha256(data[end:]).hexdigest() == header.sha256
    except InvalidAdapter:
        return False
