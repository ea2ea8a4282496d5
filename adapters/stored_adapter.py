"""An adapter file in storage, described by its header."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256

from adapters.adapter_file import Header, InvalidAdapter, header_length, parse_header
from storage import Entry, NotFound, Storage, keys, records

# Covers the header of an adapter on every layer of the real models, so that one read is enough.
_HEADER_READ = 256 * 2**10
_CONCURRENT_READS = 8


@dataclass(frozen=True)
class StoredAdapter:
    """A stored file whose header is valid and whose length matches it.

    Attributes:
        key: its storage key.
        header: the file's header.
        size: length of the file in bytes.
        spares: other keys of the same file, for when this one turns out to be damaged or is replaced meanwhile.
    """

    key: str
    header: Header
    size: int
    spares: tuple[str, ...] = ()


def read_stored(storage: Storage, key: str, entry: Entry | None = None) -> StoredAdapter:
    """Read the header of the adapter at `key`. Raises NotFound or InvalidAdapter."""
    entry = entry or storage.stat(key)
    if entry is None:
        raise NotFound(key)
    start = storage.get_range(key, 0, _HEADER_READ)
    end = 8 + header_length(start)
    if end > len(start):
        start += storage.get_range(key, len(start), end - len(start))
    header = parse_header(start[8:end], entry.size)
    producer, model = header.producer_id, header.model_name
    all_keys = keys.lora_version(producer, model, header.version), keys.lora(producer, model), keys.model(producer)
    return StoredAdapter(key, header, entry.size, tuple(spare for spare in all_keys if spare != key))


def read_listed(
    storage: Storage, entries: Iterable[Entry], belongs: Callable[[StoredAdapter], bool]
) -> Iterator[StoredAdapter]:
    """Read the headers of listed files, several at once. Invalid files are reported and left out.

    Args:
        belongs: whether the key of a file is the one that its header asks for.
    """

    def read(entry: Entry) -> StoredAdapter | None:
        try:
            found = read_stored(storage, entry.key, entry)
        except NotFound:
            return None
        except InvalidAdapter as reason:
            records.report_damaged(entry.key, str(reason))
            return None
        if not belongs(found):
            records.report_damaged(entry.key, f"it is the twin {found.header.lora_id}@{found.header.version}")
            return None
        records.clear_damaged(entry.key)
        return found

    with ThreadPoolExecutor(_CONCURRENT_READS) as pool:
        yield from (found for found in pool.map(read, entries) if found)


def is_current(stored: StoredAdapter) -> bool:
    """Whether the file lies in `loras/`, under its own name."""
    return stored.key == keys.lora(stored.header.producer_id, stored.header.model_name)


def is_version(stored: StoredAdapter) -> bool:
    """Whether the file lies in `lora_versions/`, under its own name and version."""
    header = stored.header
    return stored.key == keys.lora_version(header.producer_id, header.model_name, header.version)


def is_intact(data: bytes, header: Header) -> bool:
    """Whether `data` is the file with this header, by its digests."""
    try:
        end = 8 + header_length(data)
        return parse_header(data[8:end], len(data)) == header and sha256(data[end:]).hexdigest() == header.sha256
    except InvalidAdapter:
        return False
