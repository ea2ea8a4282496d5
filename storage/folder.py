"""Storage in a local folder, which several processes may share."""

from __future__ import annotations

import errno
import fcntl
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from pathlib import Path
from stat import S_ISREG
from time import time_ns
from typing import BinaryIO

from core import disk
from core.whole_files import UNFINISHED, hidden_file, replacing
from storage import keys
from storage.base import CHUNK, FULL_MESSAGE, AlreadyExists, Changed, Damaged, Entry, NotFound, Unavailable, check_size

# Lock files, shared by all keys, so that none ever has to be removed.
LOCKS = 64

# The extended attribute with a file's digest, which moves with the file when it is renamed.
_DIGEST = "user.producer_twin.sha256"

_FULL = {*disk.FULL, errno.EFBIG}
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}


class Folder:
    """A folder: each object is a file. A write goes to a hidden file beside it, which is synced and then renamed.

    Args:
        root: the folder, made by the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        with os_errors(key, writing=True), self._new_file(key) as (file, target):
            file.write(data)
            return self._publish(file, target, key, sha256(data).hexdigest(), if_absent, if_match)

    def put_file(self, key: str, source: Path | BinaryIO, *, if_absent: bool = False) -> str:
        with opened(source) as stream, os_errors(key, writing=True), self._new_file(key) as (file, target):
            digest = copy(stream, file)
            return self._publish(file, target, key, digest, if_absent, None)

    def get(self, key: str) -> bytes:
        return self.get_with_etag(key)[0]

    def get_with_etag(self, key: str, max_bytes: int | None = None) -> tuple[bytes, str]:
        with os_errors(key), self._opened(key) as file:
            check_size(key, os.fstat(file.fileno()).st_size, max_bytes)
            data = file.read()
            _check_digest(key, file, sha256(data).hexdigest())
            return data, _etag(os.fstat(file.fileno()))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        with os_errors(key), self._opened(key) as file:
            file.seek(start)
            return file.read(max(length, 0))

    def get_file(self, key: str, path: Path) -> None:
        with os_errors(key), self._opened(key) as source, replacing(path) as target:
            _check_digest(key, source, copy(source, target))

    def stat(self, key: str) -> Entry | None:
        try:
            with os_errors(key):
                path = self._path(key)
                status = path.stat()
        except NotFound:
            return None
        if not S_ISREG(status.st_mode):
            return None
        modified = datetime.fromtimestamp(status.st_mtime, UTC)
        return Entry(key, status.st_size, modified, _etag(status), _digest(path, status))

    def list(self, prefix: str, after: str = "", limit: int | None = None) -> Iterator[Entry]:
        folder = keys.check_prefix(prefix).rpartition("/")[0]
        found = []
        with os_errors(prefix):
            for name, folders, files in os.walk(self.root / folder, onerror=_ignore_absent):
                folders[:] = [each for each in folders if not each.startswith(".")]
                below = Path(name).relative_to(self.root).as_posix()
                start = "" if below == "." else f"{below}/"
                found += [key for file in files if (key := start + file).startswith(prefix)]
        # The order of code points is that of UTF-8 bytes.
        later = sorted(key for key in found if key > after)
        entries = (self.stat(key) for key in later if keys.is_key(key))
        yield from islice(filter(None, entries), limit)  # an object may have been deleted since

    def holds(self, prefix: str) -> bool:
        with os_errors(prefix):
            folder = self.root / keys.check_prefix(prefix)
            try:
                with os.scandir(folder) as found:
                    return next(found, None) is not None
            except NotADirectoryError:
                return True
            except FileNotFoundError:
                return os.path.lexists(folder)  # a broken link counts

    def delete(self, key: str) -> bool:
        try:
            with os_errors(key):
                path = self._path(key)
                path.stat()  # raises before the lock file of an absent object is made
                with locked(self.root, key):
                    path.unlink()
        except NotFound:
            return False
        return True

    def tidy(self, seconds: float) -> int:
        oldest = time_ns() - seconds * 1e9
        count = 0
        for folder, _, files in os.walk(self.root):
            for path in (Path(folder, name) for name in files if name.startswith(UNFINISHED)):
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime_ns < oldest:
                        path.unlink()
                        count += 1
        return count

    def local(self, key: str) -> Path | None:
        try:
            path = self._path(key)
        except FileNotFoundError:
            return None
        return path if path.is_file() else None

    def link(self, key: str, seconds: int, media_type: str) -> None:
        return None

    def upload_link(self, key: str, seconds: int, size: int) -> None:
        return None

    def _path(self, key: str) -> Path:
        """The key's file, symbolic links followed. Raises FileNotFoundError if it is outside the root."""
        path = Path(os.path.realpath(self.root / keys.check(key)))
        if not path.is_relative_to(self.root):
            raise FileNotFoundError(errno.ENOENT, "it is outside the storage", key)
        return path

    @contextmanager
    def _opened(self, key: str) -> Iterator[BinaryIO]:
        """The key's file. Raises FileNotFoundError, without waiting, if it is not a regular file but such as a pipe."""
        with open(self._path(key), "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
            if not S_ISREG(os.fstat(file.fileno()).st_mode):
                raise FileNotFoundError(errno.ENOENT, "it is not a file", key)
            yield file

    @contextmanager
    def _new_file(self, key: str) -> Iterator[tuple[BinaryIO, Path]]:
        """A hidden file to write, removed after the block unless it was renamed, and the path of the key's file."""
        target = self._path(key)
        _make_folders(target.parent)
        with hidden_file(target.parent) as file:
            yield file, target

    def _publish(
        self, file: BinaryIO, target: Path, key: str, digest: str, if_absent: bool, if_match: str | None
    ) -> str:
        file.flush()
        # The etag contains the time, and the file system's own clock is too coarse for two writes in a row.
        now = time_ns()
        os.utime(file.fileno(), ns=(now, now))
        _write_digest(file, digest)
        os.fsync(file.fileno())
        etag = _etag(os.fstat(file.fileno()))
        with locked(self.root, key):
            if target.exists() and not target.is_file():
                raise Damaged(key, "it is not a file")
            if if_match is not None:
                present = self.stat(key)
                if present is None or present.etag != if_match:
                    raise Changed(key)
            if if_absent:
                os.link(file.name, target)  # fails if the target exists, even if made without the lock
            else:
                Path(file.name).replace(target)
        _sync_folder(target.parent)
        return etag


@contextmanager
def locked(root: Path, key: str) -> Iterator[None]:
    """Exclude the other threads and processes that lock the same key below `root`."""
    folder = root / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{zlib.crc32(key.encode()) % LOCKS:02d}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # it belongs to the open file, so it excludes threads as well
        yield


@contextmanager
def opened(source: Path | BinaryIO) -> Iterator[BinaryIO]:
    """The file, opened if it is a path, from its start."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            yield file
    else:
        source.seek(0)
        yield source


def copy(source: BinaryIO, target: BinaryIO) -> str:
    """Copy in chunks, and return the SHA-256 of the content."""
    digest = sha256()
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


def _write_digest(file: BinaryIO, digest: str) -> None:
    """Store the digest with the time of writing: once another program writes the file, the digest is ignored."""
    with suppress(AttributeError, OSError):  # macOS and some file systems have no extended attributes
        os.setxattr(file.fileno(), _DIGEST, f"{digest} {os.fstat(file.fileno()).st_mtime_ns}".encode())


def _digest(file: Path | int, status: os.stat_result) -> str | None:
    try:
        digest, _, written = os.getxattr(file, _DIGEST).decode().partition(" ")
    except (AttributeError, OSError):
        return None
    return digest if written == str(status.st_mtime_ns) else None


def _check_digest(key: str, file: BinaryIO, digest: str) -> None:
    if _digest(file.fileno(), os.fstat(file.fileno())) not in (None, digest):
        raise Damaged(key)


def _make_folders(folder: Path) -> None:
    """Make a folder and its parents, and sync each, so that a crash does not lose the folder with its files."""
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


def _ignore_absent(error: OSError) -> None:
    if error.errno not in _ABSENT:
        raise error


def _etag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_ino:x}-{status.st_size:x}"


@contextmanager
def os_errors(key: str, writing: bool = False) -> Iterator[None]:
    """Raise the operating system's errors as the storage's. When writing, an absent parent is no NotFound."""
    try:
        yield
    except FileExistsError as error:
        raise AlreadyExists(key) from error
    except OSError as error:
        if error.errno in _ABSENT and not writing:
            raise NotFound(key) from error
        if error.errno in _FULL:
            raise Unavailable(507, FULL_MESSAGE) from error
        raise Unavailable(503, f"the storage cannot be used: {error.strerror}; try again later") from error
