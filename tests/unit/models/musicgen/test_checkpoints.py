"""Checkpoints of MusicGen, and their conversion from audiocraft."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.checkpoints import Checkpoint, CheckpointError, resolve
from models.musicgen import MusicGen
from models.musicgen.audiocraft import CODEC_FILE, LM_FILE, convert
from models.tiny import musicgen as tiny
from tests.checkpoint_layouts import changed


def test_the_tiny_checkpoint_is_always_the_same(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        tiny.build(tmp_path / name)
        files = sorted((tmp_path / name).iterdir())
        assert sum(file.stat().st_size for file in files) < 10e6
        digests.append([(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files])
    assert digests[0] == digests[1]


def test_what_is_no_musicgen_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a MusicGen checkpoint") as refusal:
        MusicGen.load(Checkpoint("mine", tmp_path, "0"), torch.device("cpu"), torch.float32)
    assert "\n" not in str(refusal.value)


def test_damage_is_named(tmp_path: Path) -> None:
    tiny.build(tmp_path)
    file = tmp_path / "model.safetensors"
    whole = file.read_bytes()
    changed(file, **{"decoder.lm_heads.2.weight": None})
    with pytest.raises(CheckpointError, match=r"it lacks the tensor decoder\.lm_heads\.2\.weight"):
        MusicGen.load(Checkpoint("mine", tmp_path, "0"), torch.device("cpu"), torch.float32)
    file.write_bytes(whole[:-100])
    with pytest.raises(CheckpointError, match=r"mine: .*model\.safetensors is truncated"):
        MusicGen.load(Checkpoint("mine", tmp_path, "0"), torch.device("cpu"), torch.float32)


def _loaded(folder: Path) -> MusicGen:
    return MusicGen.load(resolve(str(folder), "musicgen", tiny.build), torch.device("cpu"), torch.float32)


def test_weights_in_pytorchs_own_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.build(tmp_path)
    whole, digest = _loaded(tmp_path), resolve(str(tmp_path), "musicgen", tiny.build).sha256
    tensors = load_file(tmp_path / "model.safetensors")
    pickled = tmp_path / "pytorch_model.bin"
    torch.save(tensors, pickled)
    assert resolve(str(tmp_path), "musicgen", tiny.build).sha256 == digest, "the safetensors are read"
    (tmp_path / "model.safetensors").unlink()
    resolved = resolve(str(tmp_path), "musicgen", tiny.build)
    assert resolved.weight_bytes == pickled.stat().st_size
    pairs = zip(_loaded(tmp_path).model.state_dict().items(), whole.model.state_dict().items(), strict=True)
    assert all(name == other and torch.equal(one, two) for (name, one), (other, two) in pairs)

    torch.save(tensors | {"decoder.lm_heads.2.weight": tensors["decoder.lm_heads.2.weight"] + 1}, pickled)
    assert resolve(str(tmp_path), "musicgen", tiny.build).sha256 != resolved.sha256, "twins of other weights"
    for damage in (pickled.read_bytes()[:-100], b"", b"not a pickle"):
        pickled.write_bytes(damage)
        with pytest.raises(
            CheckpointError, match=r"/pytorch_model\.bin cannot be read as tensors: .*safetensors"
        ) as no:
            _loaded(tmp_path)
        assert "\n" not in str(no.value)
    torch.save({"a": _Command()}, pickled)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin cannot be read as tensors: .* holds code"):
        _loaded(tmp_path)
    assert "must not run" not in capsys.readouterr().out


class _Command:
    """What a malicious checkpoint would have run when it is read."""

    def __reduce__(self) -> tuple[Any, tuple[str, ...]]:
        return print, ("this must not run",)


@pytest.mark.parametrize(
    ("package", "reason"),
    [
        (None, "no such file"),
        ([1], "no best_state"),
        ({"best_state": {}}, "xp.cfg cannot be read"),
        ({"best_state": {}, "xp.cfg": "just words"}, "xp.cfg cannot be read"),
        ({"best_state": {}, "xp.cfg": "{}"}, "not a MusicGen that is driven by text"),
        ({"best_state": _Command(), "xp.cfg": "{}"}, "not a checkpoint of audiocraft's"),
    ],
)
def test_what_is_no_checkpoint_of_audiocrafts_is_not_imported(
    package: Any, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (LM_FILE, CODEC_FILE):
        if package is not None:
            torch.save(package, tmp_path / name)
    with pytest.raises(CheckpointError, match=reason) as refusal:
        convert(tmp_path, tmp_path / "out")
    assert "\n" not in str(refusal.value) and not (tmp_path / "out").exists()
    assert "must not run" not in capsys.readouterr().out
    with pytest.raises(CheckpointError, match="exists already"):
        convert(tmp_path, tmp_path)
