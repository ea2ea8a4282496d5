"""Files that are sent and received."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

# Is called with the bytes so far and the bytes in all, or None where that is unknown.
OnProgress = Callable[[int, int | None], None]
# The format of a track by the extension of its file.
FORMATS = {".wav": "wav", ".flac": "flac", ".mp3": "mp3", ".opus": "opus", ".ogg": "opus", ".m4a": "m4a"}


@dataclass(frozen=True)
class FilePart:
    """A file of a form. It is opened for each attempt to send it.

    Attributes:
        path: of the file.
        name: the filename that the service is told.
        on_progress: is called while the file is sent.
        field: of the form.
    """

    path: Path
    name: str
    on_progress: OnProgress | None = None
    field: str = "file"

    def open(self) -> BinaryIO:
        return cast(BinaryIO, _Reader(self.path, self.on_progress))


class _Reader(io.FileIO):
    """A file that tells how much of it has been read."""

    def __init__(self, path: Path, on_progress: OnProgress | None):
        super().__init__(path)
        self._on_progress = on_progress
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(-1 if size is None else size)
        if self._on_progress and data:
            self._on_progress(self.tell(), self._size)
        return data


def name_of(path: str | os.PathLike[str]) -> str:
    """The file's name, with `?` for bytes that are no UTF-8."""
    return Path(path).name.encode(errors="replace").decode()


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which replaces `path` when it is complete; folders are made. A failure leaves `path` alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:  # never through a link that somebody has put there
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
