"""Adapter files with other headers and tensors than they were written with, and valid digests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from adapters.adapter_file import header_length, sealed_header


def seal(data: bytes) -> bytes:
    """Fill in the digest of the file's header."""
    end = 8 + header_length(data)
    return data[:8] + sealed_header(data[8:end]) + data[end:]


def sealed(tensors: dict[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """A file of these tensors and header fields, with the digests of both."""
    plain = save(tensors)
    digest = sha256(plain[8 + header_length(plain) :]).hexdigest()
    return seal(save(tensors, {**metadata, "sha256": digest}))


def header_of(adapter: bytes) -> dict[str, str]:
    """The header's fields."""
    fields: dict[str, str] = json.loads(adapter[8 : 8 + header_length(adapter)])["__metadata__"]
    return fields


def with_header(adapter: bytes, **fields: str) -> bytes:
    """The same adapter with other fields in its header, such as another producer."""
    length = header_length(adapter)
    table = json.loads(adapter[8 : 8 + length])
    table["__metadata__"] |= fields
    header = json.dumps(table).encode()
    header += b" " * (-len(header) % 8)
    return seal(len(header).to_bytes(8, "little") + header + adapter[8 + length :])


def scaled(adapter: bytes, factor: float, **fields: str) -> bytes:
    """The adapter with its tensors multiplied by `factor`: another version."""
    tensors = {key: tensor * np.float32(factor) for key, tensor in load(adapter).items()}
    return sealed(tensors, header_of(adapter) | fields)
