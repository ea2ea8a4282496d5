"""Imports the `/data` tree of the app that this service replaces, or of another installation of this service."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from adapters.adapter_file import Header, InvalidAdapter, header_length, parse_header
from adapters.library import Library
from api.imports.conversion import convert
from contract import is_id
from core.errors import Refusal
from core.settings import Settings
from preprocessing.record import digest as file_digest
from runners.clients import Runners
from runners.messages import ConvertRequest
from storage import AlreadyExists, Damaged, Storage, digest_of, keys

# Copied unchanged; the second part of each path is a producer.
FOLDERS = ("uploads", "datasets", "training_data")
# Smaller than any adapter: the original app wrote such files before a training.
_PLACEHOLDER_BYTES = 1024
_DEFAULT_MODEL = "nawfside_lora"


@dataclass
class Moved:
    """The outcome of a migration.

    Attributes:
        copied: the number of files copied, by folder.
        already_there: the number of files and twins that were there already.
        twins: the id of the twin made from an adapter, by the adapter's path.
        skipped: the reason why a file was left out, by its path.
    """

    copied: Counter[str] = field(default_factory=Counter)
    already_there: int = 0
    twins: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Adapter:
    path: Path
    name: str
    producer: str
    model: str
    config: bytes | None


async def migrate(source: Path, storage: Storage, library: Library, runners: Runners, settings: Settings) -> Moved:
    """Copy files and convert adapters. Nothing is overwritten, so that it can be repeated.

    Raises:
        Refusal: 404, the folder is not such a tree.
    """
    root = next((each for each in (source, source / "data") if _is_tree(each)), None)
    if root is None:
        raise Refusal(404, f"--from: {source} has none of {', '.join((*FOLDERS, 'loras', 'models'))} in it")
    moved = Moved()
    for path in _files(root, FOLDERS):
        _copy(path, path.relative_to(root).as_posix(), storage, moved)
    seen: set[str] = set()
    for adapter in _adapters(root, moved):
        if adapter.path.stat().st_size < _PLACEHOLDER_BYTES:
            moved.skipped[adapter.name] = "a placeholder: it is too small for an adapter"
        elif (digest := file_digest(adapter.path)) not in seen:  # a twin may be at two paths
            seen.add(digest)
            await _import(adapter, library, runners, settings, moved)
    return moved


def _is_tree(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in (*FOLDERS, "loras", "models"))


def _files(root: Path, folders: tuple[str, ...]) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(path for path in (root / folder).rglob("*") if path.is_file() and not path.is_symlink())


def _copy(path: Path, key: str, storage: Storage, moved: Moved) -> None:
    parts = key.split("/")
    if not keys.is_key(key) or len(parts) < 3 or not is_id(parts[1]):
        moved.skipped[key] = "its path is not one of the tree"
        return
    if not path.stat().st_size:
        moved.skipped[key] = "a placeholder: it is empty"
        return
    try:
        storage.put_file(key, path, if_absent=True)
    except AlreadyExists:
        try:
            same = file_digest(path) == digest_of(storage, key)
        except Damaged as error:
            moved.skipped[key] = error.message
            return
        if same:
            moved.already_there += 1
        else:
            moved.skipped[key] = "another file is there already"
        return
    moved.copied[parts[0]] += 1


def _adapters(root: Path, moved: Moved) -> Iterator[_Adapter]:
    """The adapters with their producers, which are known by their folders."""
    known = {path.name for folder in (*FOLDERS, "models") for path in (root / folder).glob("*") if path.is_dir()}
    producers = sorted(filter(is_id, known), key=len, reverse=True)
    for path in sorted(filter(Path.is_file, (root / "loras").glob("*.safetensors"))):
        name, stem = f"loras/{path.name}", path.name.removesuffix(".safetensors")
        # `a_b_c` may be of `a` or of `a_b`: the longest known producer is taken, or the first word if none is known.
        producer = next((each for each in producers if stem.startswith(f"{each}_")), stem.partition("_")[0])
        model = stem.removeprefix(f"{producer}_")
        if not is_id(producer) or not is_id(model) or model == stem:
            moved.skipped[name] = "its name is not <producer>_<model>.safetensors"
            continue
        beside = root / "models" / producer / "adapter_model.safetensors"
        same = beside.is_file() and file_digest(beside) == file_digest(path)
        yield _Adapter(path, name, producer, model, _config(beside) if same else None)
    for path in sorted((root / "models").glob("*/adapter_model.safetensors")):
        if is_id(path.parent.name) and path.is_file():
            yield _Adapter(path, path.relative_to(root).as_posix(), path.parent.name, _DEFAULT_MODEL, _config(path))


async def _import(adapter: _Adapter, library: Library, runners: Runners, settings: Settings, moved: Moved) -> None:
    try:
        data, lora_id, version = await _converted(adapter, runners, settings)
        if await asyncio.to_thread(library.exists, f"{lora_id}@{version}"):
            moved.already_there += 1
        elif await asyncio.to_thread(library.exists, lora_id):
            moved.skipped[adapter.name] = f"there is another twin {lora_id} already; import it under another name"
        else:
            await asyncio.to_thread(library.add, data)
            moved.twins[adapter.name] = lora_id
    except Refusal as refusal:
        moved.skipped[adapter.name] = refusal.message.removeprefix("file: ")


async def _converted(adapter: _Adapter, runners: Runners, settings: Settings) -> tuple[bytes, str, str]:
    """The adapter in this service's format, its id and its version. An adapter that has the format keeps its id."""
    data = adapter.path.read_bytes()
    try:
        header = _header(data)
    except InvalidAdapter:
        request = ConvertRequest(
            data=data, config=adapter.config, producer_id=adapter.producer, model_name=adapter.model
        )
        data = (await convert(request, None, runners, settings)).data
        header = _header(data)
    return data, header.lora_id, header.version


def _header(data: bytes) -> Header:
    return parse_header(data[8 : 8 + header_length(data)], len(data))


def _config(adapter: Path) -> bytes | None:
    path = adapter.with_name("adapter_config.json")
    return path.read_bytes() if path.is_file() else None
