"""The files of ACE-Step's tasks, which are needed after the request that brought them was answered."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from core.disk import temporary_space
from generation.editing.recordings import Sent

FIELDS = ("source", "reference")


class TaskFiles:
    """Copies of the files that came with a task, on the disk for temporary files.

    Args:
        folder: has a file for each field that was sent; None if none was.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @contextmanager
    def opened(self) -> Iterator[Sent]:
        """The files, opened for one track: the tracks of a batch read them at the same time."""
        with ExitStack() as stack:
            files = {}
            for name in FIELDS:
                if self._folder and (self._folder / name).exists():
                    files[name] = stack.enter_context(io.FileIO(self._folder / name))
            yield Sent(**files)

    def remove(self) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def kept(files: Mapping[str, BinaryIO | io.FileIO]) -> TaskFiles:
    """Copy files by the names of their fields. Raises Refusal (507) where the disk is full."""
    if not files:
        return TaskFiles(None)
    copies = TaskFiles(folder := Path(tempfile.mkdtemp(prefix="acestep-task-")))
    try:
        with temporary_space():
            for name, file in files.items():
                file.seek(0)
                with (folder / name).open("xb") as copy:
                    shutil.copyfileobj(file, copy, 2**20)
    except BaseException:
        copies.remove()
        raise
    return copies


def size_of(files: Mapping[str, io.FileIO]) -> int:
    """The bytes of the files of a request."""
    return sum(os.fstat(file.fileno()).st_size for file in files.values())
