"""The weight files of a model: which tensors they hold and where, from their headers alone."""

from __future__ import annotations

import json
import pickle  # nosec B403 - for the class of an error
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import CheckpointError

# The weights of a model in PyTorch's own format.
_PICKLES = "pytorch_model*.bin"
_MAX_HEADER_BYTES = 100 * 2**20
_COPY_BYTES = 16 * 2**20

Shapes = Mapping[str, Sequence[int]]  # by tensor name


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a safetensors file.

    Attributes:
        dtype: by safetensors' name.
        start, end: its bytes in the file.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def weight_files(folder: Path) -> list[Path]:
    """The files with weights under `folder`: safetensors, and pickles where there are none beside them."""
    found = list(folder.rglob("*.safetensors"))
    beside = {file.parent for file in found}
    return sorted([*found, *(file for file in folder.rglob(_PICKLES) if file.parent not in beside)])


def check_pickles(folder: Path) -> None:
    """Check that the pickles in `folder` hold tensors, and no code. Their data is not read.

    Raises:
        CheckpointError: names the first file that cannot be loaded.
    """
    import torch

    for file in sorted(folder.glob(_PICKLES)):
        try:
            torch.load(file, map_location="meta", weights_only=True, mmap=zipfile.is_zipfile(file))
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
            raise CheckpointError(
                f"{shown(file)} cannot be read as tensors: it is damaged, or holds code; "
                "download it again, or a model.safetensors in its place"
            ) from error


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """The tensors of the safetensors file, or of its shards, in `folder`, by name.

    Raises:
        CheckpointError: a file is missing, truncated or damaged.
    """
    tensors: dict[str, StoredTensor] = {}
    for file in _files(folder):
        tensors |= _tensors(file)
    return tensors


def _files(folder: Path) -> list[Path]:
    index = next(iter(sorted(folder.glob("*.safetensors.index.json"))), None)
    if index:
        try:
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{shown(index)} cannot be read") from error
        files = [folder / name for name in names]
    else:
        files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickles = sorted(folder.glob("*.bin"))
        if pickles:
            raise CheckpointError(f"{shown(pickles[0])} is a pickle, which is not read here; save it as safetensors")
        raise CheckpointError(f"{folder.name} has no *.safetensors file")
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise CheckpointError(f"{shown(missing[0])} is missing; download it again")
    return files


def _tensors(file: Path) -> dict[str, StoredTensor]:
    size = file.stat().st_size
    with file.open("rb") as data:
        start = data.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= _MAX_HEADER_BYTES:
            raise CheckpointError(f"{shown(file)} is not a safetensors file")
        header = data.read(length)
    if len(header) < length:
        raise CheckpointError(f"{shown(file)} is truncated: {size} bytes are there, which is less than its header")
    try:
        table: dict[str, Any] = json.loads(header)
        table.pop("__metadata__", None)
        offset = 8 + length
        tensors = {
            name: StoredTensor(
                file, entry["dtype"], tuple(entry["shape"]), *(offset + at for at in entry["data_offsets"])
            )
            for name, entry in table.items()
        }
        if any(not offset <= tensor.start <= tensor.end for tensor in tensors.values()):
            raise ValueError("offsets before the data, or in the wrong order")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{shown(file)} is not a safetensors file") from error
    end = max((tensor.end for tensor in tensors.values()), default=offset)
    if size < end:
        raise CheckpointError(f"{shown(file)} is truncated: of {end} bytes {size} are there; download it again")
    return tensors


def check_tensors(folder: Path, stored: Mapping[str, StoredTensor], wanted: Shapes, complete: bool = False) -> None:
    """Check that every tensor of a model is stored with its shape.

    Args:
        folder: named in errors.
        complete: nothing else may be stored.

    Raises:
        CheckpointError: names the first tensor that is missing, of another shape, or left over.
    """
    missing = [name for name in wanted if name not in stored]
    if missing:
        raise CheckpointError(f"{folder.name} lacks the tensor {missing[0]}{_and_more(missing)}; download it again")
    for name, shape in wanted.items():
        if tuple(shape) != stored[name].shape:
            found, asked = list(stored[name].shape), list(shape)
            raise CheckpointError(f"{folder.name}: the tensor {name} is {found}, and its config.json asks for {asked}")
    left = sorted(stored.keys() - wanted.keys()) if complete else []
    if left:
        raise CheckpointError(
            f"{folder.name} has the tensor {left[0]}{_and_more(left)}, which has no place in the model"
        )


def _and_more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def write_tensors(target: Path, tensors: Mapping[str, StoredTensor]) -> None:
    """Write a safetensors file by copying the tensors' bytes.

    Args:
        tensors: by their new names.

    Raises:
        CheckpointError: a file has changed since its header was read.
    """
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + tensor.end - tensor.start
        table[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    header = json.dumps(table).encode()
    header += b" " * (-len(header) % 8)
    with target.open("wb") as out:
        out.write(struct.pack("<Q", len(header)) + header)
        for tensor in tensors.values():
            with tensor.file.open("rb") as data:
                data.seek(tensor.start)
                left = tensor.end - tensor.start
                while left:
                    piece = data.read(min(left, _COPY_BYTES))
                    if not piece:
                        raise CheckpointError(f"{shown(tensor.file)} became shorter while it was read; try again")
                    out.write(piece)
                    left -= len(piece)


def shown(file: Path) -> str:
    """The file with its folder, for messages."""
    return f"{file.parent.name}/{file.name}"
