"""Storage in a folder that has other things in it than objects."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage import Damaged, NotFound, Unavailable, open_storage
from storage.folder import Folder
from storage.tracing import TracedStorage
from tests.disks import small_disk


def test_a_file_that_was_edited_by_hand_is_read(tmp_path: Path) -> None:
    store = open_storage(tmp_path.as_uri())
    store.put("a", b"ours")
    (tmp_path / "a").write_bytes(b"theirs")
    entry = store.stat("a")
    assert store.get("a") == b"theirs" and entry is not None and entry.sha256 is None


def test_links_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    store = open_storage(root.as_uri())
    for key in ("file", "folder/secret"):
        assert store.stat(key) is None
        assert store.delete(key) is False
        with pytest.raises(NotFound):
            store.get(key)
        with pytest.raises(Unavailable):
            store.put(key, b"mine")
    assert list(store.list("")) == []
    assert (outside / "secret").read_bytes() == b"secret"
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_a_pipe_is_no_object_and_holds_nobody_up(tmp_path: Path) -> None:
    store = open_storage(tmp_path.as_uri())
    (tmp_path / "jobs").mkdir()
    os.mkfifo(tmp_path / "jobs/x.json")
    with pytest.raises(NotFound):
        store.get("jobs/x.json")
    with pytest.raises(NotFound):
        store.get_range("jobs/x.json", 0, 1)
    with pytest.raises(NotFound):
        store.get_file("jobs/x.json", tmp_path / "copy")
    assert store.stat("jobs/x.json") is None


def test_what_is_no_object_is_not_written_over(tmp_path: Path) -> None:
    """It neither exists nor is absent, so a caller that retried until one of them holds would never end."""
    store = open_storage(tmp_path.as_uri())
    (tmp_path / "job_slots/admitted.json").mkdir(parents=True)
    assert store.stat("job_slots/admitted.json") is None
    for conditions in ({}, {"if_absent": True}, {"if_match": "x"}):
        with pytest.raises(Damaged):
            store.put("job_slots/admitted.json", b"{}", **conditions)  # type: ignore[arg-type]
    assert [path.name for path in (tmp_path / "job_slots").iterdir()] == ["admitted.json"]


def test_what_a_crash_leaves_is_not_listed(tmp_path: Path) -> None:
    store = open_storage(tmp_path.as_uri())
    store.put("a/b", b"x")
    (tmp_path / "a" / ".new-123").write_bytes(b"half")
    assert [entry.key for entry in store.list("")] == ["a/b"]


def test_a_full_disk_is_507_and_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2**21) as disk:
        store = open_storage(disk.as_uri())
        store.put("a", b"kept")
        with pytest.raises(Unavailable) as refusal:
            store.put("a", bytes(4_000_000))
        assert refusal.value.status == 507
        assert store.get("a") == b"kept"
        store.put("b", bytes(1_000_000))


def test_other_urls_are_refused(tmp_path: Path) -> None:
    for url in ("file://host/folder", "http://x/y", "s3://", "folder", "file:folder"):
        with pytest.raises(ValueError, match="STORAGE_URL"):
            open_storage(url)
    opened = open_storage("file:///srv/a%20b")
    assert isinstance(opened, TracedStorage) and isinstance(opened.storage, Folder)
    assert opened.storage.root == Path("/srv/a b")


def test_the_local_default_imports_neither_boto3_nor_torch() -> None:
    code = "import storage, sys; storage.open_storage('file:///tmp/x'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"boto3", "torch"} & set(done.stdout.split())
