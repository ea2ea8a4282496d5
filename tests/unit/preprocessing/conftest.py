"""Fixtures for the tests of preprocessing."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import Storage, open_storage


@pytest.fixture
def store(tmp_path: Path) -> Storage:
    return open_storage((tmp_path / "store").as_uri())
