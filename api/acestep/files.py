"""The files of ACE-Step's tasks, which are needed after the request that brought them was answered."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import BinaryIO

from core.disk import temporary_space
from core.temporary import TemporaryFolder
from generation.editing.recordings import Sent

FIELDS = ("source", "reference")


class TaskFiles:
    """Copies of the files that came with a task, on the disk for temporary files.

    Args:
        folder: has a file for each field that was sent; None if none was.
    """

    def __init__(self, folder: TemporaryFolder | None) -> None:
        self._folder = folder

    @contextmanager
    def opened(self) -> Iterator[Sent]:
        """The files, opened for one track: the tracks of a batch read them at the same time."""
        with ExitStack() as stack:
            files = {}
            for name in FIELDS:
                if self._folder and (path := self._folder.path / name).exists():
                    files[name] = stack.enter_context(io.FileIO(path))
            yield Sent(**files)

    def remove(self) -> None:
        if self._folder:
            self._folder.remove()


def kept(files: Mapping[str, BinaryIO | io.FileIO]) -> TaskFiles:
    """Copy files by the names of their fields. Raises Refusal (507) where the disk is full."""
    if not files:
        return TaskFiles(None)
    with temporary_space():
        folder = TemporaryFolder("acestep-task")
        try:
            for name, file in files.items():
                file.seek(0)
                with (folder.path / name).open("xb") as copy:
                    shutil.copyfileobj(file, copy, 2**20)
        except BaseException:
            folder.remove()
            raise
    return TaskFiles(folder)


def size_of(files: Mapping[str, io.FileIO]) -> int:
    """The bytes of the files of a request."""
    return sum(os.fstat(file.fileno()).st_size for file in files.values())
