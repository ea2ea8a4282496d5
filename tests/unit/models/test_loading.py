"""The progress of loading, and which of it is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.checkpoints import resolve
from models.loading import Loading


def test_the_seconds_left_follow_from_the_bytes_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("models.loading.time.monotonic", lambda: now[0])
    done, progress = [0], Loading()
    assert progress.now() is None
    progress.begin("downloading", 1000, lambda: done[0])
    done[0], now[0] = 100, 100.5
    early = progress.now()
    assert early and (early.stage, early.bytes, early.total_bytes) == ("downloading", 100, 1000)
    assert early.seconds_left is None
    done[0], now[0] = 250, 105.0
    later = progress.now()
    assert later and later.seconds_left == 15.0
    progress.begin("loading", 1000)
    last = progress.now()
    assert last and (last.stage, last.bytes, last.seconds_left) == ("loading", None, None)


def test_checking_a_folder_counts_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"w" * 500)
    (tmp_path / "config.json").write_bytes(b"{}")
    progress = Loading()
    checkpoint = resolve(str(tmp_path), "ace_step", lambda folder: None, loading=progress)
    told = progress.now()
    assert told and (told.stage, told.bytes, told.total_bytes) == ("checking", 502, 502)
    assert checkpoint.weight_bytes == 500
