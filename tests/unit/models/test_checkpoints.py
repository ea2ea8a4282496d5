"""From a configured name to a folder of weights."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from core.settings import ROOT
from models import checkpoints
from models.checkpoints import CheckpointError, resolve
from models.traits import Traits


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


def test_traits_are_no_part_of_a_checkpoints_digest(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    _write(folder)
    before = resolve(str(folder), "x", _write).sha256
    assert Traits.of(folder) == Traits(clock=False, loudness=-14.0, max_true_peak=-1.0)
    (folder / "producer_twin.json").write_text('{"clock": true}')
    assert resolve(str(folder), "x", _write).sha256 == before
    assert Traits.of(folder) == Traits(clock=True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"epochs": 3}', "epochs: "),
        ('{"clock": "yes"}', "clock: "),
        ('{"clock": 1}', "clock: "),
        ('{"loudness": true}', "loudness: "),
        ('{"loudness": NaN}', "loudness: "),
        ('{"level_channels": 2.5}', "level_channels: "),
        ('{"level_channels": -1}', "level_channels: "),
        ("[]", "object"),
        ("{", "JSON"),
    ],
)
def test_traits_that_cannot_be_used_are_named(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "producer_twin.json").write_text(text)
    with pytest.raises(CheckpointError) as caught:
        Traits.of(tmp_path)
    assert problem in str(caught.value) and str(tmp_path / "producer_twin.json") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_whole_numbers_are_levels_too(tmp_path: Path) -> None:
    (tmp_path / "producer_twin.json").write_text('{"loudness": -20, "level_channels": 4}')
    assert Traits.of(tmp_path) == Traits(loudness=-20.0, level_channels=4)


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


_COMMIT = "a" * 40


class _Hub(BaseHTTPRequestHandler):
    """Speaks as much of the hub's protocol as a download of one repository needs."""

    files: ClassVar[dict[str, bytes]] = {
        "model_index.json": b'{"_class_name": "X"}',
        "unet/weights.safetensors": b"w" * 5000,
        "unet/weights.bin": b"not wanted",
    }

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path in ("/api/models/some/model/revision/v1", f"/api/models/some/model/revision/{_COMMIT}"):
            siblings = [{"rfilename": name, "size": len(data)} for name, data in self.files.items()]
            body = json.dumps({"id": "some/model", "sha": _COMMIT, "siblings": siblings}).encode()
            self._answer(200, body, {"content-type": "application/json"})
        elif path == f"/api/models/some/model/tree/{_COMMIT}":
            tree = [{"type": "file", "path": n, "size": len(d), "oid": _COMMIT} for n, d in self.files.items()]
            self._answer(200, json.dumps(tree).encode(), {"content-type": "application/json"})
        elif path.startswith(prefix := f"/some/model/resolve/{_COMMIT}/"):
            data = self.files[path.removeprefix(prefix)]
            etag = hashlib.sha256(data).hexdigest()
            self._answer(200, data, {"etag": f'"{etag}"', "x-repo-commit": _COMMIT})
        else:
            self._answer(404, b"{}", {"x-error-code": "RepoNotFound"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"content-length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def _resolved_from_hub(tmp_path: Path, endpoint: str, name: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, since the hub's client reads its environment once."""
    code = f"from models.checkpoints import resolve; c = resolve({name!r}, 'x', print); print(c.folder, c.sha256)"
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_a_revision_is_downloaded_from_the_hub_once(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    first = _resolved_from_hub(tmp_path, endpoint, "some/model@v1")
    assert first.returncode == 0, first.stderr
    folder = Path(first.stdout.split()[0])
    assert (folder / "unet" / "weights.safetensors").read_bytes() == _Hub.files["unet/weights.safetensors"]
    assert not (folder / "unet" / "weights.bin").exists()
    assert _COMMIT in str(folder)
    server.shutdown()
    server.server_close()
    # What is there serves without the hub, under the same digest.
    for name in ("some/model@v1", f"some/model@{_COMMIT}"):
        assert _resolved_from_hub(tmp_path, endpoint, name).stdout == first.stdout
    assert "did not serve it" in _resolved_from_hub(tmp_path, endpoint, "some/other@v1").stderr


def test_a_full_disk_is_told_before_the_download(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="GB are free"):
        checkpoints._check_disk("someone/huge", 10**18, tmp_path / "hub")
