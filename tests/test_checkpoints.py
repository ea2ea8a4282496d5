"""From a configured name to a folder of weights."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from models import checkpoints
from models.checkpoints import CheckpointError, resolve


def _write(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text(json.dumps({"a": 1}))


def test_the_starter_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        _write(folder)

    first, second = (resolve("starter", "nobody", build) for _ in range(2))
    assert first == second and len(built) == 1
    assert (first.folder / "config.json").exists()


def test_a_folder_is_known_by_its_contents(tmp_path: Path) -> None:
    for name in ("one", "two"):
        _write(tmp_path / name)
    one, two = (resolve(str(tmp_path / name), "x", _write) for name in ("one", "two"))
    assert one.sha256 == two.sha256
    (tmp_path / "two" / "model.safetensors").write_bytes(b"other")
    assert resolve(str(tmp_path / "two"), "x", _write).sha256 != one.sha256


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        resolve(str(tmp_path / "absent"), "x", _write)


def test_a_hub_that_does_not_answer_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError) as caught:
        resolve("someone/absent-model@abc", "x", _write)
    assert "someone/absent-model@abc" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_told_before_the_download(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="GB are free"):
        checkpoints._check_disk("someone/huge", 10**18, tmp_path / "hub")
