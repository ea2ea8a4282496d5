"""Folders for temporary files are removed, also those of processes that were killed."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from core.settings import ROOT
from core.temporary import TemporaryFolder, sweep

# Makes a folder with a file, tells its path, and waits.
_PROGRAM = """
import sys
from core.temporary import TemporaryFolder
folder = TemporaryFolder("test")
(folder.path / "file").write_bytes(bytes(100))
print(folder.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _begun(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process, and its folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def _age(folder: Path) -> None:
    an_hour_ago = time.time() - 3600
    os.utime(folder, (an_hour_ago, an_hour_ago))


def test_a_folder_is_there_for_the_block_and_for_the_object(place: Path) -> None:
    with TemporaryFolder("test") as folder:
        (folder / "deep").mkdir()
        assert folder.is_dir() and folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    kept = TemporaryFolder("test")
    assert kept.path.is_dir()
    del kept
    gc.collect()
    assert list(place.iterdir()) == []


def test_the_folder_of_a_killed_process_is_removed_and_that_of_a_living_one_is_not(place: Path) -> None:
    killed, left = _begun(place)
    living, used = _begun(place)
    killed.kill()
    killed.communicate()
    other = place / "another-program"
    other.mkdir()
    link = place / "producer-twin-link"
    link.symlink_to(other)
    for folder in (used, other):
        _age(folder)
    assert sweep() == 0 and left.is_dir()  # it is so new that its process may not have locked it yet
    _age(left)
    assert sweep() == 1
    assert sorted(place.iterdir()) == sorted([other, link, used]) and (used / "file").exists()
    living.communicate("")
    assert not used.exists()


def test_the_folders_of_this_process_are_kept(place: Path) -> None:
    with TemporaryFolder("test") as folder:
        _age(folder)
        assert sweep() == 0 and folder.is_dir()
