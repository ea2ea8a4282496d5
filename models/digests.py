"""SHA-256 digests of files, remembered on this machine by path, size and times.

Reading a checkpoint of many gigabytes takes longer than all the rest of a short training.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

from core.whole_files import replacing

# The digest of a smaller file is computed as fast as a remembered one is read.
_MIN_BYTES = 2**20
# A file that was changed a moment ago may change again without another time.
_MIN_AGE_SECONDS = 2.0


def file_digest(path: Path, cache: Path) -> bytes:
    """The SHA-256 digest of the file's contents.

    Args:
        cache: the folder with the remembered digests.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_size < _MIN_BYTES:
            return hashlib.file_digest(file, "sha256").digest()
        has_settled = time.time() - status.st_ctime >= _MIN_AGE_SECONDS
        identity = f"{path.resolve()}\0{_version(status)}"
        remembered = cache / hashlib.sha256(identity.encode()).hexdigest()
        with suppress(OSError):
            digest = remembered.read_bytes()
            if len(digest) == hashlib.sha256().digest_size:
                return digest
        digest = hashlib.file_digest(file, "sha256").digest()
        if has_settled and _version(os.fstat(file.fileno())) == _version(status):
            with suppress(OSError), replacing(remembered) as new:  # without a remembered digest it is only slower
                new.write(digest)
        return digest


def _version(status: os.stat_result) -> str:
    """What changes with the contents, unlike the time of the last access."""
    # The time of the last change of the inode changes with every write and rename, and no program can set it.
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
