"""Finds the adapter in the files or the .zip that a client sent. It runs in the sandbox."""

from __future__ import annotations

import io
from pathlib import PurePosixPath

from adapters.adapter_file import InvalidAdapter
from adapters.safetensors_header import read_safetensors_header
from api.imports import zips
from core.errors import Refusal
from core.text import shown

# Twice the largest adapter that the real models have: rank 128 on every layer.
MAX_BYTES = 2**30
_CONFIG = "adapter_config.json"
_MAX_CONFIG = 2**20
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")


def unpacked_files(files: dict[str, io.FileIO], max_bytes: int) -> tuple[bytes, bytes | None]:
    """`unpacked` from open files, which the sandbox can pass to its process."""
    contents = {}
    for name, file in files.items():
        file.seek(0)
        contents[name] = file.readall()
    return unpacked(contents, max_bytes)


def unpacked(files: dict[str, bytes], max_bytes: int = MAX_BYTES) -> tuple[bytes, bytes | None]:
    """The adapter, its table of tensors checked, and PEFT's configuration, from files or from a zipped folder.

    Args:
        max_bytes: bytes that may be unpacked.

    Raises:
        Refusal: 400 or 413, with the reason.
    """
    zipped = False
    if len(files) == 1:
        name, data = next(iter(files.items()))
        zipped = zips.is_zip(data) and not _is_adapter(name)
        files = zips.unzipped(data, _is_wanted, max_bytes) if zipped else files
    adapters = [name for name in files if _is_adapter(name)]
    if len(adapters) != 1:
        raise Refusal(400, _not_one(adapters, list(files)))
    others = [name for name in files if name not in adapters and PurePosixPath(name).name != _CONFIG]
    if others and not zipped:
        raise Refusal(400, f"file: {shown(others[0])} is neither a .safetensors file nor {_CONFIG}")
    data, config = files[adapters[0]], files.get(str(PurePosixPath(adapters[0]).with_name(_CONFIG)))
    try:
        read_safetensors_header(data)
    except InvalidAdapter as reason:
        raise Refusal(400, f"file: {shown(str(reason))}") from reason
    if config and len(config) > _MAX_CONFIG:
        raise Refusal(400, f"file: {_CONFIG} has over {_MAX_CONFIG // 2**20} MB; send the one that PEFT wrote")
    return data, config


def _is_adapter(name: str) -> bool:
    return name.lower().endswith(".safetensors")


def _is_wanted(path: str) -> bool:
    return _is_adapter(path) or PurePosixPath(path).name == _CONFIG


def _not_one(adapters: list[str], names: list[str]) -> str:
    if adapters:
        return f"file: there are {len(adapters)} adapters ({_listed(adapters)}); send one, or zip the folder of one"
    found = _listed(names) or "nothing"
    if any(name.lower().endswith(_PICKLED) for name in names):
        return f"file: got {found}; pickled files are not read: save it with safe_serialization=True, as .safetensors"
    if any(name.lower().endswith(".zip") for name in names):
        return f"file: got {found}; unzip it, and send the .safetensors file, or one .zip of its folder"
    return f"file: send one .safetensors file, its {_CONFIG} where there is one, or both in a .zip; got {found}"


def _listed(names: list[str]) -> str:
    return shown(", ".join(map(shown, names[:10])))
