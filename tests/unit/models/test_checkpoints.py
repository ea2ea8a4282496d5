"""From a configured name to a folder of weights."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from core.settings import ROOT
from models.checkpoints import CheckpointError, resolve
from models.local_cache import build_once, check_disk
from models.traits import Traits
from tests.hub_server import COMMIT, hub, run_with_hub


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


_FILES = {
    "model_index.json": b'{"_class_name": "X"}',
    "unet/weights.safetensors": b"w" * 5000,
    "unet/weights.bin": b"not wanted",
    "acestep-5Hz-lm-1.7B/model.safetensors": b"not used",
}


def _resolved_from_hub(home: Path, endpoint: str, name: str) -> subprocess.CompletedProcess[str]:
    code = f"from models.checkpoints import resolve; c = resolve({name!r}, 'x', print); print(c.folder, c.sha256)"
    return run_with_hub(endpoint, home, code)


@pytest.mark.slow
def test_a_revision_is_downloaded_from_the_hub_once(tmp_path: Path) -> None:
    with hub({"some/model": _FILES}) as endpoint:
        first = _resolved_from_hub(tmp_path, endpoint, "some/model@v1")
    assert first.returncode == 0, first.stderr
    folder = Path(first.stdout.split()[0])
    assert (folder / "unet" / "weights.safetensors").read_bytes() == _FILES["unet/weights.safetensors"]
    assert not (folder / "unet" / "weights.bin").exists()
    assert not (folder / "acestep-5Hz-lm-1.7B").exists()
    assert COMMIT in str(folder)
    # What is there serves without the hub, under the same digest.
    for name in ("some/model@v1", f"some/model@{COMMIT}"):
        assert _resolved_from_hub(tmp_path, endpoint, name).stdout == first.stdout
    assert "did not serve it" in _resolved_from_hub(tmp_path, endpoint, "some/other@v1").stderr


@pytest.mark.slow
def test_the_bytes_of_a_download_are_those_of_the_files_that_are_not_there(tmp_path: Path) -> None:
    code = (
        "from models import hub; from models.loading import Loading; l = Loading()\n"
        "hub.download('some/model', loading=l); print(l.now().total_bytes, l.now().bytes)"
    )
    blobs = tmp_path / "hub" / "models--some--model" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "of-another-revision").write_bytes(b"w" * 100_000)
    index = _FILES["model_index.json"]
    (blobs / hashlib.sha256(index).hexdigest()).write_bytes(index)
    with hub({"some/model": _FILES}) as endpoint:
        done = run_with_hub(endpoint, tmp_path, code)
    assert done.stdout.split() == ["5000", "5000"], done.stderr


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="GB are free; make room or set HF_HOME"):
        check_disk(10**18, tmp_path / "hub", "HF_HOME")


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        _write(folder)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(CheckpointError, match="is full; make room"):
        build_once(tmp_path / "it", build)
    assert [path.name for path in tmp_path.iterdir()] == ["it.lock"]
    assert build_once(tmp_path / "it", _write) == tmp_path / "it"


def test_a_build_that_was_killed_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "it.part").mkdir()
    (tmp_path / "it.part" / "half").write_text("")
    built = build_once(tmp_path / "it", _write)
    assert sorted(path.name for path in built.iterdir()) == ["config.json", "model.safetensors"]


def test_what_is_built_is_found_where_nothing_can_be_written(tmp_path: Path) -> None:
    _write(tmp_path / "it")
    (tmp_path / "it.lock").mkdir()  # it cannot be opened, as in a read-only folder
    assert build_once(tmp_path / "it", _write) == tmp_path / "it"


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(CheckpointError, match=r"cache/tiny cannot be written .*; set XDG_CACHE_HOME"):
        build_once(tmp_path / "cache" / "tiny" / "it", _write)


def test_all_of_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: set[str] = set()

    def flush(descriptor: int) -> None:
        assert not (tmp_path / "it").exists()
        flushed.add(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)

    monkeypatch.setattr("models.local_cache.os.fsync", flush)
    build_once(tmp_path / "it", _write)
    assert flushed == {"config.json", "model.safetensors"}


@pytest.mark.slow
def test_two_processes_build_once(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from models.local_cache import build_once\n"
        "def build(folder):\n"
        "    folder.mkdir(); (folder / 'by').write_text(sys.argv[1]); time.sleep(1)\n"
        "print((build_once(Path(sys.argv[2]), build) / 'by').read_text())"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, name, str(tmp_path / "it")], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for name in ("one", "two")
    ]
    first, second = (process.communicate(timeout=60)[0] for process in started)
    assert first == second != ""


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "ace_step_1.5_turbo_aio.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="it is a file; name the folder"):
        resolve(str(tmp_path / "ace_step_1.5_turbo_aio.safetensors"), "x", _write)
