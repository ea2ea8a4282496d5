"""An empty storage of each kind for a test."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from storage import Storage, open_storage
from storage.s3 import S3
from storage.tracing import TracedStorage
from tests.s3_server import S3Server, s3_server

__all__ = ["s3_server"]

Place = tuple[str, str | None]


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """The arguments of open_storage for a new, empty storage."""
    if request.param == "folder":
        return (tmp_path / "a folder").as_uri(), None
    server: S3Server = request.getfixturevalue("s3_server")
    return server.url(f"tests/{uuid.uuid4().hex}"), server.endpoint


@pytest.fixture
def store(place: Place) -> Storage:
    return open_storage(*place)


def bucket_of(store: Storage) -> S3:
    """The S3 storage that is behind the spans."""
    assert isinstance(store, TracedStorage) and isinstance(store.storage, S3)
    return store.storage
