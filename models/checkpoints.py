"""Resolves `ACE_STEP_MODEL` and `MUSICGEN_MODEL` to a folder that `from_pretrained` loads."""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

STARTER = "starter"
# A checkpoint's traits (models/traits.py). The authors' checkpoints have no such file.
TRAITS_FILE = "producer_twin.json"
_STARTERS = Path(__file__).parent / "starter"
# Weights, configurations and tokenizers; a hub repository may hold other formats of the same weights.
_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
_DISK_HEADROOM = 1.05

log = logging.getLogger("producer_twin.checkpoints")


class CheckpointError(RuntimeError):
    """The checkpoint cannot be found, downloaded or loaded. The message is one line for `/backends` and the log."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine.

    Attributes:
        name: as configured.
        folder: the folder for `from_pretrained`.
        sha256: identifies the weights; an adapter is used only with the checkpoint that it was trained on.
    """

    name: str
    folder: Path
    sha256: str


def resolve(name: str, backend: str, build_tiny: Callable[[Path], None], token: str | None = None) -> Checkpoint:
    """Find, build or download the checkpoint `name` for `backend`.

    Args:
        name: `starter`, a folder, or `<hub id>[@revision]`.
        build_tiny: writes a tiny checkpoint with fixed random weights into a folder. It is used as the starter of a
            backend for which none ships.
        token: access token of the Hugging Face hub.

    Raises:
        CheckpointError: the checkpoint cannot be found or downloaded.
    """
    if name == STARTER:
        shipped = _STARTERS / backend
        folder = shipped if shipped.is_dir() else _built(backend, build_tiny)
        return Checkpoint(name, folder, _digest(folder))
    if name.startswith((".", "/", "~")) or Path(name).is_dir():
        folder = Path(name).expanduser().resolve()
        if not folder.is_dir():
            raise CheckpointError(f"{name}: there is no such folder")
        return Checkpoint(name, folder, _digest(folder))
    return _downloaded(name, token)


def cache_folder() -> Path:
    """The folder on this machine for files that can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "producer-twin"


def _built(backend: str, build: Callable[[Path], None]) -> Path:
    """Build the checkpoint once. Processes that start at the same time wait for the first one."""
    source = Path(inspect.getfile(build)).read_bytes()
    target = cache_folder() / "tiny" / f"{backend}-{hashlib.sha256(source).hexdigest()[:12]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                folder = Path(scratch) / backend
                build(folder)
                folder.rename(target)
    return target


def _downloaded(name: str, token: str | None) -> Checkpoint:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import LocalEntryNotFoundError
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils._paths import filter_repo_objects

    repo, _, revision = name.partition("@")
    try:
        try:
            folder = snapshot_download(
                repo, revision=revision or None, allow_patterns=_FILES, token=token, local_files_only=True
            )
        except LocalEntryNotFoundError:
            info = HfApi(token=token).model_info(repo, revision=revision or None, files_metadata=True)
            wanted = filter_repo_objects(info.siblings or [], allow_patterns=_FILES, key=lambda file: file.rfilename)
            had = _size(Path(HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model"))
            _check_disk(name, sum(file.size or 0 for file in wanted) - had, Path(HF_HUB_CACHE))
            log.info("downloading %s (an interrupted download is resumed)", name)
            folder = snapshot_download(repo, revision=revision or None, allow_patterns=_FILES, token=token)
    except CheckpointError:
        raise
    except Exception as error:  # the hub's client, its HTTP library and the disk raise different types
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{name}: the hub did not serve it: {reason}") from error
    # A snapshot's folder is named by its commit, which identifies its contents.
    return Checkpoint(name, Path(folder), hashlib.sha256(f"{repo}@{Path(folder).name}".encode()).hexdigest())


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _check_disk(name: str, needed: int, cache: Path) -> None:
    place = next(parent for parent in (cache, *cache.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if needed * _DISK_HEADROOM > free:
        raise CheckpointError(
            f"{name}: needs {needed / 1e9:.1f} GB under {cache}, where {free / 1e9:.1f} GB are free; "
            "make room or set HF_HOME"
        )


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        # Traits are no part of the model: twins of a checkpoint remain valid when they are added or corrected.
        if path.suffix in (".safetensors", ".json") and path.name != TRAITS_FILE:
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
