"""Storage in a local folder, which several processes may share."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from time import time_ns
from typing import BinaryIO

from storage import keys
from storage.base import CHUNK, AlreadyExists, Changed, Entry, NotFound, Unavailable

# Writers of one key take turns by a lock file. As all keys share a fixed number of them, none needs removing.
LOCKS = 64

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}


class Folder:
    """A file for an object. A write is a hidden file in the same folder, synced, then renamed."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        with os_errors(key, writing=True), self._new_file(key) as (file, target):
            file.write(data)
            return self._publish(file, target, key, if_absent, if_match)

    def put_file(self, key: str, path: Path, *, if_absent: bool = False) -> str:
        with path.open("rb") as source, os_errors(key, writing=True), self._new_file(key) as (file, target):
            shutil.copyfileobj(source, file, CHUNK)
            return self._publish(file, target, key, if_absent, None)

    def get(self, key: str) -> bytes:
        return self.get_with_etag(key)[0]

    def get_with_etag(self, key: str) -> tuple[bytes, str]:
        with os_errors(key), self._path(key).open("rb") as file:
            return file.read(), _etag(os.fstat(file.fileno()))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        with os_errors(key), self._path(key).open("rb") as file:
            file.seek(start)
            return file.read(max(length, 0))

    def get_file(self, key: str, path: Path) -> None:
        with os_errors(key), self._path(key).open("rb") as source, replacing(path) as target:
            shutil.copyfileobj(source, target, CHUNK)

    def stat(self, key: str) -> Entry | None:
        try:
            with os_errors(key):
                status = self._path(key).stat()
        except NotFound:
            return None
        if not S_ISREG(status.st_mode):
            return None
        return Entry(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC), _etag(status))

    def list(self, prefix: str) -> Iterator[Entry]:
        folder = keys.check_prefix(prefix).rpartition("/")[0]
        found = []
        with os_errors(prefix):
            for name, folders, files in os.walk(self.root / folder, onerror=_pass_over_absent):
                folders[:] = [each for each in folders if not each.startswith(".")]
                below = Path(name).relative_to(self.root)
                found += [key for file in files if (key := (below / file).as_posix()).startswith(prefix)]
        for key in sorted(filter(keys.is_key, found), key=str.encode):
            if entry := self.stat(key):  # it may have gone since
                yield entry

    def delete(self, key: str) -> bool:
        try:
            with os_errors(key):
                path = self._path(key)
                path.stat()  # nothing is made, not even a lock, for an object that is not there
                with self._lock(key):
                    path.unlink()
        except NotFound:
            return False
        return True

    def _path(self, key: str) -> Path:
        """The key's file, symbolic links followed. Raises FileNotFoundError if it is outside the root."""
        path = Path(os.path.realpath(self.root / keys.check(key)))
        if not path.is_relative_to(self.root):
            raise FileNotFoundError(errno.ENOENT, "it leads out of the storage", key)
        return path

    @contextmanager
    def _new_file(self, key: str) -> Iterator[tuple[BinaryIO, Path]]:
        """A hidden file beside the key's, gone when the block ends unless it was renamed, and the key's."""
        target = self._path(key)
        _make_folders(target.parent)
        with _hidden_file(target.parent) as file:
            yield file, target

    def _publish(self, file: BinaryIO, target: Path, key: str, if_absent: bool, if_match: str | None) -> str:
        file.flush()
        # The etag is made of the time, and the file system's clock ticks too slowly for quick writes.
        now = time_ns()
        os.utime(file.fileno(), ns=(now, now))
        os.fsync(file.fileno())
        etag = _etag(os.fstat(file.fileno()))
        with self._lock(key):
            if if_match is not None:
                present = self.stat(key)
                if present is None or present.etag != if_match:
                    raise Changed(key)
            if if_absent:
                os.link(file.name, target)  # fails if the target exists, whoever made it
            else:
                Path(file.name).replace(target)
        _sync_folder(target.parent)
        return etag

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        folder = self.root / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{zlib.crc32(key.encode()) % LOCKS:02d}").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # of this open file, so threads exclude each other as well
            yield


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that becomes `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _hidden_file(path.parent) as file:
        yield file
        file.flush()
        Path(file.name).replace(path)


@contextmanager
def _hidden_file(folder: Path) -> Iterator[BinaryIO]:
    path = folder / f".new-{uuid.uuid4().hex}"
    try:
        with path.open("xb") as file:
            yield file
    finally:
        path.unlink(missing_ok=True)


def _make_folders(folder: Path) -> None:
    """Make a folder and its parents, each entry synced, or the file in it could be lost with its folder."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        _sync_folder(each.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pass_over_absent(error: OSError) -> None:
    if error.errno not in _ABSENT:
        raise error


def _etag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_ino:x}-{status.st_size:x}"


@contextmanager
def os_errors(key: str, writing: bool = False) -> Iterator[None]:
    """Errors of the operating system as errors of the storage."""
    try:
        yield
    except FileExistsError as error:
        raise AlreadyExists(key) from error
    except OSError as error:
        if error.errno in _ABSENT and not writing:
            raise NotFound(key) from error
        if error.errno in _FULL:
            raise Unavailable(507, "the storage is full; delete something or give it more space") from error
        raise Unavailable(503, f"the storage cannot be used: {error.strerror}; try again later") from error
