"""Unpacks a zipped folder after checking it for zip bombs, overlapping entries and paths outside of it."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import PurePosixPath

from core.errors import Refusal
from core.text import shown

MAX_ENTRIES = 1000
_MAX_DIRECTORY = 2**20  # bytes of the table of contents
# Weights hardly compress; a file that compresses to a hundredth is a zip bomb.
_MAX_RATIO = 100
_SMALL = 2**16
_MAX_NAME = 500

_END, _END_SIZE = b"PK\5\6", 22
_LOCATOR, _LOCATOR_SIZE = b"PK\6\7", 20
_END_64, _END_64_SIZE = b"PK\6\6", 56
_LOCAL_SIZE = 30
_ENCRYPTED = 0x1 | 0x40
# Files that macOS and Windows add to an archive.
_CLUTTER = re.compile(r"(^|/)(__MACOSX/|\._[^/]*$|\.DS_Store$|Icon\r$|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)

# Exceptions that zipfile raises for a damaged file.
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, EOFError, OSError, ValueError, LookupError)


def is_zip(data: bytes) -> bool:
    return data[:4] in (b"PK\3\4", _END)


def unzipped(data: bytes, wanted: Callable[[str], bool], max_bytes: int) -> dict[str, bytes]:
    """The archive's files by their paths; the contents of those that are not `wanted` are left empty.

    Args:
        max_bytes: the limit on all wanted files together.

    Raises:
        Refusal: 400, the archive is damaged or suspicious; 413, the files have more than `max_bytes`.
    """
    try:
        _check_directory(data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_overlaps(data, archive)
            members = _members(archive.infolist())
            chosen = {path: info for path, info in members.items() if wanted(path)}
            for path, info in chosen.items():
                _check_sizes(path, info)
            if sum(info.file_size for info in chosen.values()) > max_bytes:
                raise Refusal(413, f"file: unpacked, it is over {max_bytes // 2**20} MB")
            found = dict.fromkeys(members, b"")
            for path, info in chosen.items():
                with archive.open(info) as member:
                    found[path] = member.read(info.file_size + 1)
                if len(found[path]) != info.file_size:
                    raise Refusal(400, f"file: {shown(path)} in the .zip is not as long as it says; zip it again")
            return found
    except _DAMAGED as error:
        raise Refusal(400, "file: the .zip cannot be read; it is damaged or cut off: zip the folder again") from error


def _check_directory(data: bytes) -> None:
    """Refuse an archive with too many entries, by the record at its end, before zipfile lists them."""
    at = data.rfind(_END, max(0, len(data) - _END_SIZE - 2**16))
    if at < 0 or at + _END_SIZE > len(data):
        raise Refusal(400, "file: the .zip is cut off: it has no end; send it again")
    count, size = struct.unpack_from("<HL", data, at + 10)
    locator = at - _LOCATOR_SIZE
    end_64 = locator - _END_64_SIZE
    if end_64 >= 0 and data.startswith(_LOCATOR, locator) and data.startswith(_END_64, end_64):
        count, size = struct.unpack_from("<QQ", data, end_64 + 32)
    if count > MAX_ENTRIES or size > _MAX_DIRECTORY:
        raise Refusal(400, f"file: the .zip has over {MAX_ENTRIES} files; zip one adapter's folder alone")


def _check_overlaps(data: bytes, archive: zipfile.ZipFile) -> None:
    """Refuse entries that share bytes with each other or with the table of contents."""
    if len(archive.infolist()) > MAX_ENTRIES:
        raise Refusal(400, f"file: the .zip has over {MAX_ENTRIES} files; zip one adapter's folder alone")
    end = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        name, extra = struct.unpack_from("<HH", data, info.header_offset + 26)
        if info.header_offset < end:
            raise Refusal(400, "file: the .zip has files that overlap; zip the folder again")
        end = info.header_offset + _LOCAL_SIZE + name + extra + info.compress_size
    if end > archive.start_dir:
        raise Refusal(400, "file: the .zip has files that overlap its end; zip the folder again")


def _members(infos: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The files by their paths with forward slashes, without folders and clutter."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        path = info.orig_filename.replace("\\", "/")
        _check_name(path)
        if path.endswith("/") or _CLUTTER.search(path):
            continue
        path = str(PurePosixPath(path))
        if path in members:
            raise Refusal(400, f"file: the .zip has {shown(path)} twice; zip the folder again")
        members[path] = info
    return members


def _check_name(path: str) -> None:
    outside = path.startswith("/") or re.match(r"[A-Za-z]:", path) or ".." in path.split("/")
    if outside or not path or len(path) > _MAX_NAME or "\0" in path:
        raise Refusal(
            400,
            f"file: the .zip has a file named {shown(path)}, which is no path in a folder; zip the folder itself",
        )


def _check_sizes(path: str, info: zipfile.ZipInfo) -> None:
    if info.flag_bits & _ENCRYPTED:
        raise Refusal(400, "file: the .zip has a password; make it without one")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refusal(400, f"file: {shown(path)} in the .zip is packed in a rare way; make an ordinary .zip (Deflate)")
    if info.file_size > _SMALL + _MAX_RATIO * info.compress_size:
        raise Refusal(
            400, f"file: {shown(path)} in the .zip has {_MAX_RATIO} times its packed size: it holds no weights"
        )
