"""The adapter file: a safetensors file that diffusers, PEFT and ComfyUI load, with a header in its metadata.

Tensors are named `base_model.model.<module>.lora_A.weight` `[rank, in]` and `….lora_B.weight` `[out, rank]`. Module
names are those of the original model, and the scaling alpha / rank is folded into B, so that the file is read correctly
without an `adapter_config.json`. DoRA, LoKr and LoHa tensors have PEFT's names (`lora_magnitude_vector`, `lokr_…`,
`hada_…`), or LyCORIS' where PEFT has none (`dora_scale` with LoKr or LoHa, or by inputs `[1, in]`). OFT has names of
ours, `oft_input` or `oft_output` with its rotations, and `oft_rescale`. Everything else (producer, base checkpoint,
digests) is in the safetensors metadata, which is read without torch.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from contract import MAX_SCALE, is_id
from core.notation import MAX_BPM, MIN_BPM

PREFIX = "base_model.model."
_MAX_HEADER_BYTES = 8 * 2**20
_FORMAT = "producer-twin/1"
# The digest of the JSON header itself, computed with zeros in its place.
_HEADER_DIGEST = re.compile(rb'("header_sha256": ?")([0-9a-f]{64})(")')
_SHA256 = re.compile("[0-9a-f]{64}")
_OPTIONAL = ("partial", "bpm", "recommended_scale")
# Stands where a digest is filled in later.
ZERO_DIGEST = "0" * 64
# The parts of the tensors of a LoRA and of a LoHa.
LORA_PARTS = frozenset({"lora_A.weight", "lora_B.weight"})
LOHA_PARTS = frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"})
# Where the part of a tensor's name begins, after the module.
PARTS = (".lora_", ".lokr_", ".hada_", ".dora_", ".oft_")


class InvalidAdapter(ValueError):
    """The file cannot be used as an adapter. The message is a sentence that says why."""


@dataclass(frozen=True)
class Header:
    """The description of the adapter in its file.

    Attributes:
        producer_id, model_name: together the `lora_id`.
        backend: name of the backend that it was trained for.
        base: the checkpoint that it was trained on, as configured.
        base_sha256: digest of that checkpoint; the adapter is used with no other.
        rank: largest rank of its layers.
        job_id: the job that trained it; empty if it was imported.
        created_at: ISO 8601, UTC.
        sha256: digest of the tensor bytes after the header.
        partial: `<steps done>/<steps planned>` if training was cancelled, otherwise empty.
        bpm: the usual tempo of the music that it was trained on, for requests that name none; None if it is unknown.
        recommended_scale: the strength that its evaluation recommends, for requests that name none; None if it
            recommends none, which means 1.
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
    bpm: int | None = None
    recommended_scale: float | None = None

    @property
    def default_scale(self) -> float:
        """The strength of the adapter in requests that name none."""
        return 1.0 if self.recommended_scale is None else self.recommended_scale

    @property
    def lora_id(self) -> str:
        return f"{self.producer_id}:{self.model_name}"

    @property
    def version(self) -> str:
        """The first 16 hexadecimal digits of the digest: a version is identified by its contents."""
        return self.sha256[:16]

    def to_metadata(self) -> dict[str, str]:
        """The safetensors metadata, with zeros where `sealed_header` writes the digest."""
        fields = {name: "" if value is None else str(value) for name, value in asdict(self).items()}
        return {"format": "pt", "twin": _FORMAT, "header_sha256": ZERO_DIGEST} | fields

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> Header:
        if metadata.get("twin") != _FORMAT:
            raise InvalidAdapter("it has no header of a twin")
        try:
            # Files of earlier versions lack the optional fields.
            fields: dict[str, Any] = dict.fromkeys(_OPTIONAL, "") | metadata
            fields = {name: fields[name] for name in cls.__dataclass_fields__}
            if not all(isinstance(value, str) for value in fields.values()):
                raise InvalidAdapter("its header is not text")
            if not is_id(fields["producer_id"]) or not is_id(fields["model_name"]):
                raise InvalidAdapter("its header names no twin")
            if not _SHA256.fullmatch(fields["sha256"]):
                raise InvalidAdapter("its header has no digest")
            datetime.fromisoformat(fields["created_at"])
            parsed = {
                "rank": int(fields["rank"]),
                "bpm": parse_tempo(fields["bpm"]),
                "recommended_scale": parse_scale(fields["recommended_scale"]),
            }
            return cls(**fields | parsed)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidAdapter(f"its header is incomplete: {error}") from error


def parse_tempo(text: str) -> int | None:
    """The tempo in a file's metadata, None for an empty text. Raises ValueError if it is none."""
    if not text:
        return None
    bpm = int(text)
    if not MIN_BPM <= bpm <= MAX_BPM:
        raise ValueError(f"its tempo is not from {MIN_BPM} to {MAX_BPM} bpm")
    return bpm


def parse_scale(text: str) -> float | None:
    """The recommended scale in a file's metadata, None for an empty text. Raises ValueError if it is none."""
    if not text:
        return None
    scale = float(text)
    if not 0 <= scale <= MAX_SCALE:
        raise ValueError(f"its recommended scale is not from 0 to {MAX_SCALE:g}")
    return scale


def sealed_header(header: bytes) -> bytes:
    """Fill in the digest of a JSON header, so that every byte of the file is covered by a digest.

    Raises:
        ValueError: the header has no field for its digest.
    """
    sealed, count = _HEADER_DIGEST.subn(rb"\g<1>%b\g<3>" % _header_digest(header), header)
    if count != 1:
        raise ValueError("the header has no field for its digest")
    return sealed


def _header_digest(header: bytes) -> bytes:
    return sha256(_HEADER_DIGEST.sub(rb"\g<1>%b\g<3>" % ZERO_DIGEST.encode(), header)).hexdigest().encode()


def header_length(start: bytes) -> int:
    """Length of the safetensors header in bytes, from the first eight bytes of the file."""
    if len(start) < 8:
        raise InvalidAdapter("it is too short to be a safetensors file")
    (length,) = struct.unpack("<Q", start[:8])
    if not 2 <= length <= _MAX_HEADER_BYTES:
        raise InvalidAdapter("it is not a safetensors file")
    return int(length)


def parse_header(header: bytes, file_size: int) -> Header:
    """Parse the JSON header (without the eight bytes of its length) of a file of `file_size` bytes.

    Raises:
        InvalidAdapter: the file is no safetensors file, is truncated, or holds no adapter; or the header is none of
            ours, or damaged.
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
    found = _HEADER_DIGEST.search(header)
    if found is None or found[2] != _header_digest(header):
        raise InvalidAdapter("its header does not match its digest")
    return parsed


def module_and_part(name: str) -> tuple[str, str]:
    """Split a tensor's name into module (without the prefix) and part, such as `lora_A.weight`; "" if it has none."""
    for part in PARTS:
        module, found, rest = name.removeprefix(PREFIX).rpartition(part)
        if found:
            return module, part[1:] + rest
    return name, ""
