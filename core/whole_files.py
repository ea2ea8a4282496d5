"""Files that appear whole or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

UNFINISHED = ".new-"  # the names of files that are being written begin with it


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that replaces `path` if the block raises nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with hidden_file(path.parent) as file:
        yield file
        file.flush()
        Path(file.name).replace(path)


@contextmanager
def hidden_file(folder: Path) -> Iterator[BinaryIO]:
    """A new hidden file, which is removed after the block unless it was renamed."""
    path = folder / f"{UNFINISHED}{uuid.uuid4().hex}"
    try:
        with path.open("xb") as file:
            yield file
    finally:
        path.unlink(missing_ok=True)
