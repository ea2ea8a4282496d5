"""Folders on this machine that can be made again, each made once, whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from core import disk
from models.errors import CheckpointError

_DISK_HEADROOM = 1.05


def cache_folder() -> Path:
    """The folder on this machine for files that can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "producer-twin"


def build_once(target: Path, build: Callable[[Path], None]) -> Path:
    """Build the folder `target` unless it is there. Processes that start at the same time wait for the first one.

    Args:
        build: writes the contents into a folder that it makes. If it fails, nothing is left of it.

    Raises:
        CheckpointError: the folder cannot be written, or the disk is full.
    """
    if target.is_dir():  # the cache may be read-only
        return target
    try:
        with _locked(target.with_name(f"{target.name}.lock")):
            if not target.is_dir():
                _build(target, build)
    except OSError as error:
        if error.errno not in disk.FULL:
            raise
        raise CheckpointError(f"the disk of {target.parent} is full; make room or set XDG_CACHE_HOME") from error
    return target


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Within the block no other process has the lock. The folder of `path` is made."""
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(path.open("w"))
        except OSError as error:
            if error.errno in disk.FULL:
                raise
            raise CheckpointError(
                f"{path.parent} cannot be written ({error.strerror}); set XDG_CACHE_HOME to a folder that can"
            ) from error
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(target: Path, build: Callable[[Path], None]) -> None:
    scratch = target.with_name(f"{target.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
    try:
        build(scratch)
        for path in scratch.rglob("*"):
            if path.is_file():  # on the disk before its folder has its name, so that no power failure leaves half
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_disk(needed: int, folder: Path, setting: str) -> None:
    """Check that `needed` bytes fit on the disk of `folder`, which need not exist.

    Args:
        setting: the environment variable that chooses the folder.

    Raises:
        CheckpointError: they do not.
    """
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if needed * _DISK_HEADROOM > free:
        raise CheckpointError(
            f"it needs {needed / 1e9:.1f} GB under {folder}, where {free / 1e9:.1f} GB are free; "
            f"make room or set {setting}"
        )
