"""The adapter file: one safetensors file that diffusers, PEFT and ComfyUI load, with a header that says whose it is.

Tensors are named `base_model.model.<module>.lora_A.weight` `[rank, in]` and `….lora_B.weight` `[out, rank]`, with
the original model's module names and alpha / rank folded into B, since that is the form that needs no second file
to be read right. DoRA, LoKr and LoHa adapters have PEFT's names for theirs (`lora_magnitude_vector`, `lokr_…`,
`hada_…`), and LyCORIS' where PEFT has none (`dora_scale` beside LoKr or LoHa, or by inputs `[1, in]`). What else is
known about the adapter stands in the safetensors metadata. Reading it needs no torch.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from contract import is_id

PREFIX = "base_model.model."
_MAX_HEADER = 8 * 2**20
_FORMAT = "producer-twin/1"
# The digest of the header itself, computed with zeros in its place.
_SEAL = re.compile(rb'("header_sha256": ?")([0-9a-f]{64})(")')
_DIGEST = re.compile("[0-9a-f]{64}")
# What the name of an adapter's tensor has after its module's.
PARTS = (".lora_", ".lokr_", ".hada_", ".dora_")


class InvalidAdapter(ValueError):
    """The file is not an adapter that can be used; the message says why in a sentence."""


@dataclass(frozen=True)
class Header:
    """Whose adapter it is, and what it fits.

    Attributes:
        producer_id, model_name: together the `lora_id`.
        backend: the runner table's name.
        base: the checkpoint it was trained on, as configured.
        base_sha256: that checkpoint's digest; it serves only with the same one.
        rank: largest rank of its layers.
        job_id: the job that trained it; empty for one that was imported.
        created_at: ISO 8601, UTC.
        sha256: digest of the tensor bytes after the header.
        partial: `steps/of how many` where training was cancelled on the way, empty where it was not.
    """

    producer_id: str
    model_name: str
    backend: str
    base: str
    base_sha256: str
    rank: int
    job_id: str
    created_at: str
    sha256: str
    partial: str = ""

    @property
    def lora_id(self) -> str:
        return f"{self.producer_id}:{self.model_name}"

    @property
    def version(self) -> str:
        """Content and version are one: the first 16 hexadecimal digits of the digest."""
        return self.sha256[:16]

    def to_metadata(self) -> dict[str, str]:
        """As text, and a place for `seal`."""
        fields = {name: str(value) for name, value in asdict(self).items()}
        return {"format": "pt", "twin": _FORMAT, "header_sha256": "0" * 64} | fields

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> Header:
        if metadata.get("twin") != _FORMAT:
            raise InvalidAdapter("it has no header of a twin")
        try:
            fields: dict[str, Any] = {name: metadata[name] for name in cls.__dataclass_fields__ if name != "partial"}
            fields["partial"] = metadata.get("partial", "")
            if not all(isinstance(value, str) for value in fields.values()):
                raise InvalidAdapter("its header is not text")
            if not is_id(fields["producer_id"]) or not is_id(fields["model_name"]):
                raise InvalidAdapter("its header names no twin")
            if not _DIGEST.fullmatch(fields["sha256"]):
                raise InvalidAdapter("its header has no digest")
            datetime.fromisoformat(fields["created_at"])
            return cls(**fields | {"rank": int(fields["rank"])})
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidAdapter(f"its header is incomplete: {error}") from error


def seal(data: bytes) -> bytes:
    """The file with its header's digest filled in: every byte of it is under a digest then."""
    end = 8 + header_length(data)
    return b"".join([data[:8], sealed_header(data[8:end]), memoryview(data)[end:]])


def sealed_header(header: bytes) -> bytes:
    """The JSON header with its digest filled in. Raises ValueError if it has no place for it."""
    sealed, count = _SEAL.subn(rb"\g<1>%b\g<3>" % _header_digest(header), header)
    if count != 1:
        raise ValueError("the header has no place for its digest")
    return sealed


def _header_digest(header: bytes) -> bytes:
    return sha256(_SEAL.sub(rb"\g<1>%b\g<3>" % (b"0" * 64), header)).hexdigest().encode()


def header_length(start: bytes) -> int:
    """How many bytes the safetensors header takes, from the file's first eight bytes."""
    if len(start) < 8:
        raise InvalidAdapter("it is too short to be a safetensors file")
    (length,) = struct.unpack("<Q", start[:8])
    if not 2 <= length <= _MAX_HEADER:
        raise InvalidAdapter("it is not a safetensors file")
    return int(length)


def parse_header(header: bytes, file_size: int) -> Header:
    """Read the JSON header (without its eight bytes of length) of a file of `file_size` bytes.

    Raises:
        InvalidAdapter: not a safetensors file, truncated, no adapter tensors, no header of a twin, or a damaged one.
    """
    try:
        table = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise InvalidAdapter("it is not a safetensors file") from error
    if not isinstance(table, dict):
        raise InvalidAdapter("it is not a safetensors file")
    metadata = table.pop("__metadata__", {})
    try:
        end = max((int(entry["data_offsets"][1]) for entry in table.values()), default=0)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise InvalidAdapter("it is not a safetensors file") from error
    if 8 + len(header) + end != file_size:
        raise InvalidAdapter("it is truncated")
    if not any(part in name for name in table for part in PARTS):
        raise InvalidAdapter("it holds no adapter weights")
    parsed = Header.from_metadata(metadata if isinstance(metadata, dict) else {})
    found = _SEAL.search(header)
    if found is None or found[2] != _header_digest(header):
        raise InvalidAdapter("its header does not match its digest")
    return parsed


def module_and_part(name: str) -> tuple[str, str]:
    """A tensor's name as its module's, without the prefix, and the rest, such as `lora_A.weight`; "" if it is none."""
    for part in PARTS:
        module, found, rest = name.removeprefix(PREFIX).rpartition(part)
        if found:
            return module, part[1:] + rest
    return name, ""
