"""The header of a safetensors file, checked before any library loads the file. Needs no torch.

It bounds the number and size of the tensors that are loaded afterwards, and ensures that the bytes of the file belong
to exactly one tensor each.
"""

from __future__ import annotations

import json
from math import prod
from typing import Any, NamedTuple

from adapters.adapter_file import InvalidAdapter, header_length

# The largest model has 3,000 at seven tensors for each Linear layer.
MAX_TENSORS = 20_000
# A file of 1 GiB in half precision.
MAX_ELEMENTS = 2**29
MAX_NAME_LENGTH = 500
_MAX_DIMENSIONS = 6

_FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
# Allowed for single numbers only: some tools write alpha as an integer.
_INTEGERS = {"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1}


class TensorInfo(NamedTuple):
    """A tensor's dtype, by safetensors' name, and its shape."""

    dtype: str
    shape: tuple[int, ...]


class SafetensorsHeader(NamedTuple):
    """The tensors by name, and the `__metadata__`."""

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]


def read_safetensors_header(data: bytes) -> SafetensorsHeader:
    """Parse and check the header of a complete safetensors file.

    Raises:
        InvalidAdapter: it is no safetensors file, is truncated, has bytes that belong to no tensor or to several, or
            more tensors or elements than any adapter has.
    """
    table = _parsed(data)
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InvalidAdapter("its __metadata__ is not an object of texts, as a safetensors file has it")
    try:
        "".join([*metadata, *metadata.values()]).encode()
    except UnicodeEncodeError as error:
        raise InvalidAdapter("its __metadata__ has a text that is not Unicode") from error
    if len(table) > MAX_TENSORS:
        raise InvalidAdapter(f"it has {len(table)} tensors; no adapter has over {MAX_TENSORS}")
    tensors: dict[str, TensorInfo] = {}
    spans: list[tuple[int, int]] = []
    elements = 0
    for name, given in table.items():
        info, span = _tensor(name, given)
        elements += prod(info.shape)
        if elements > MAX_ELEMENTS:
            raise InvalidAdapter(f"it has over {MAX_ELEMENTS} numbers; lower the rank, or save it in half precision")
        tensors[name] = info
        spans.append(span)
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            raise InvalidAdapter("it is not a safetensors file: its tensors overlap, or leave bytes between them")
        end = stop
    found = len(data) - 8 - header_length(data)
    if end > found:
        raise InvalidAdapter(
            f"it is a truncated safetensors file: of {end} bytes of tensors {found} are there; send it again"
        )
    if end < found:
        raise InvalidAdapter(f"it is not a safetensors file: {found - end} bytes after its end belong to no tensor")
    return SafetensorsHeader(tensors, metadata)


def _parsed(data: bytes) -> dict[str, Any]:
    length = header_length(data)
    if len(data) < 8 + length:
        raise InvalidAdapter("it is truncated, or not a safetensors file; pickled files (.bin, .pt) are not read")
    # Counted before the JSON is parsed, because each parsed entry takes far more memory than its text.
    if data.count(b'"data_offsets"', 8, 8 + length) > MAX_TENSORS:
        raise InvalidAdapter(f"it has too many tensors; no adapter has over {MAX_TENSORS}")
    try:
        table = json.loads(data[8 : 8 + length].decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidAdapter("it is not a safetensors file: its header is not valid JSON") from error
    if not isinstance(table, dict):
        raise InvalidAdapter("it is not a safetensors file: its header is not an object")
    return table


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _tensor(name: str, given: Any) -> tuple[TensorInfo, tuple[int, int]]:
    """Check one entry. Returns the tensor and where its bytes begin and end."""
    shown = name[:100]
    if len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidAdapter(f"{shown!r}… is not a name of a tensor")
    if not isinstance(given, dict) or not {"dtype", "shape", "data_offsets"} <= given.keys():
        raise InvalidAdapter(f"it is not a safetensors file: {shown} lacks its dtype, shape or data_offsets")
    dtype, shape, offsets = given["dtype"], given["shape"], given["data_offsets"]
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2 or len(shape) > _MAX_DIMENSIONS:
        raise InvalidAdapter(f"it is not a safetensors file: {shown} has a shape or data_offsets that are none")
    if 0 in shape:
        raise InvalidAdapter(f"{shown} is empty: its shape is {shape}")
    size = _FLOATS.get(dtype) if isinstance(dtype, str) else None
    if size is None and prod(shape) == 1:
        size = _INTEGERS.get(dtype) if isinstance(dtype, str) else None
    if size is None:
        raise InvalidAdapter(
            f"{shown} is of type {str(dtype)[:20]}, as quantised weights are; save it in float32, float16 or bfloat16"
        )
    start, stop = offsets
    if stop - start != size * prod(shape):
        raise InvalidAdapter(f"it is not a safetensors file: {shown} of {shape} in {dtype} has {stop - start} bytes")
    return TensorInfo(dtype, tuple(shape)), (start, stop)


def _counts(given: Any) -> bool:
    """Whether it is a list of sizes: whole numbers that are not negative, nor larger than any file."""
    return isinstance(given, list) and all(type(each) is int and 0 <= each < 2**40 for each in given)
