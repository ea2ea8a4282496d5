"""Opens the storage that STORAGE_URL names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from storage.base import Storage
from storage.folder import Folder
from storage.tracing import TracedStorage


def open_storage(url: str, endpoint: str | None = None) -> Storage:
    """The storage at a URL. Nothing is written, and no connection is made, before its first method is called.

    Args:
        url: `file:///folder` or `s3://bucket/prefix`.
        endpoint: URL of an S3-compatible server; None means AWS.

    Raises:
        ValueError: for any other URL.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.path.startswith("/") and parts.netloc in ("", "localhost"):
        return TracedStorage(Folder(Path(unquote(parts.path))))
    if parts.scheme == "s3" and parts.netloc:
        from storage.s3 import S3  # importing boto3 takes half a second

        return TracedStorage(S3(parts.netloc, unquote(parts.path).strip("/"), endpoint))
    raise ValueError(f"STORAGE_URL: {url} is neither file:///folder nor s3://bucket/prefix")
