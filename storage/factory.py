"""From STORAGE_URL to the storage."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from storage.base import Storage
from storage.folder import Folder
from storage.tracing import traced


def open_storage(url: str, endpoint: str | None = None) -> Storage:
    """The storage at `file:///folder` or `s3://bucket/prefix`. Nothing is written or connected to yet.

    `endpoint` is the address of an S3-compatible server; AWS if None. Raises ValueError for any other URL.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.path.startswith("/") and parts.netloc in ("", "localhost"):
        return traced(Folder(Path(unquote(parts.path))))
    if parts.scheme == "s3" and parts.netloc:
        from storage.s3 import S3  # boto3 takes half a second to import: only who uses it pays

        return traced(S3(parts.netloc, unquote(parts.path).strip("/"), endpoint))
    raise ValueError(f"STORAGE_URL: {url} is neither file:///folder nor s3://bucket/prefix")
