"""Remembered digests of files."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest

from models import digests
from models.digests import file_digest


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(digests, "_MIN_AGE_SECONDS", 0.0)
    path = tmp_path / "model.safetensors"
    path.write_bytes(os.urandom(2**20))
    return path


def test_a_digest_is_remembered(file: Path, tmp_path: Path) -> None:
    cache = tmp_path / "digests"
    wanted = hashlib.sha256(file.read_bytes()).digest()
    assert file_digest(file, cache) == wanted
    (remembered,) = cache.iterdir()
    remembered.write_bytes(b"r" * 32)
    assert file_digest(file, cache) == b"r" * 32
    remembered.write_bytes(b"cut short")
    assert file_digest(file, cache) == wanted


def test_a_changed_file_has_another_digest_though_size_and_time_are_the_same(file: Path, tmp_path: Path) -> None:
    cache, before = tmp_path / "digests", file.stat()
    first = file_digest(file, cache)
    other = file.with_name("other")
    other.write_bytes(os.urandom(2**20))
    other.replace(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file_digest(file, cache) == hashlib.sha256(file.read_bytes()).digest() != first


def test_a_file_that_changed_just_now_is_not_remembered(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_MIN_AGE_SECONDS", 60.0)
    file_digest(file, tmp_path / "digests")
    assert not (tmp_path / "digests").exists()


def test_without_a_place_to_remember_it_is_computed(file: Path, tmp_path: Path) -> None:
    (tmp_path / "digests").write_text("not a folder")
    assert file_digest(file, tmp_path / "digests") == hashlib.sha256(file.read_bytes()).digest()


def test_reading_a_file_does_not_count_as_a_change(file: Path, tmp_path: Path) -> None:
    """Most systems note a file's first reading after a change, as the time of the last access."""
    os.utime(file, (0, 0))
    file_digest(file, tmp_path / "digests")
    assert len(list((tmp_path / "digests").iterdir())) == 1


def test_a_file_that_changes_within_its_clocks_granularity_is_not_remembered(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large file takes longer to read than the least age."""
    monkeypatch.setattr(digests, "_MIN_AGE_SECONDS", 0.2)
    read = hashlib.file_digest

    def read_slowly(*arguments: Any) -> Any:
        time.sleep(0.4)
        return read(*arguments)

    monkeypatch.setattr("models.digests.hashlib.file_digest", read_slowly)
    os.utime(file)  # a moment ago
    file_digest(file, tmp_path / "digests")
    assert not (tmp_path / "digests").exists()
