"""Taking over the `/data` tree of the original app."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch

from adapters.library import Library
from adapters.serialization import decode
from api.imports.migration import Moved, migrate
from core.errors import Refusal
from core.settings import Settings
from models.ace_step import AceStep
from models.checkpoints import resolve
from models.tiny import ace_step as tiny
from runners.clients import Runners
from runners.local import LocalRunners
from storage import Storage, open_storage
from tests.api import beat
from tests.peft_files import (
    assert_same,
    deltas,
    peft_of,
    saved_by_peft,
)


@pytest.fixture(scope="module")
def model() -> AceStep:
    return AceStep.load(resolve("starter", "ace_step", tiny.build), torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def runners() -> Runners:
    return Runners(LocalRunners(), Settings())


@pytest.fixture
def tree(tmp_path: Path, model: AceStep) -> Path:
    """As the original leaves it: a twin at both paths, one by another name only, placeholders, and odd files."""
    root = tmp_path / "volume" / "data"
    audio = beat(1)
    files = {
        "uploads/ada_b/job/beat.wav": audio,
        "uploads/ada_b/job/empty.wav": b"",
        "uploads/ada_b/.hidden/x.wav": audio,
        "datasets/ada_b/job/clip_0000.wav": audio,
        "training_data/ada_b/audio/seg_0000.wav": audio,
        "training_data/ada_b/text/seg_0000.txt": b"dark trap",
        "loras/ada_b_second.safetensors": b"placeholder",
        "loras/nameless.safetensors": b"x" * 2000,
        "loras/zoe_torn.safetensors": b"x" * 2000,
    }
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    data, _ = saved_by_peft(peft_of(model.adapted), root / "models/ada_b")
    (root / "loras/ada_b_night.safetensors").write_bytes(data)
    return root


def moved_in(source: Path, storage: Storage, runners: Runners) -> Moved:
    return asyncio.run(migrate(source, storage, Library(storage), runners, Settings()))


@pytest.mark.slow
def test_a_tree_is_taken_over_once(tree: Path, tmp_path: Path, model: AceStep, runners: Runners) -> None:
    storage = open_storage((tmp_path / "new").as_uri())
    storage.put("datasets/ada_b/job/clip_0000.wav", b"ours")
    moved = moved_in(tree.parent, storage, runners)
    assert moved.copied == {"uploads": 1, "training_data": 2}
    assert moved.twins == {"loras/ada_b_night.safetensors": "ada_b:night"}, moved.skipped
    assert set(moved.skipped) == {
        "uploads/ada_b/job/empty.wav",
        "uploads/ada_b/.hidden/x.wav",
        "datasets/ada_b/job/clip_0000.wav",
        "loras/ada_b_second.safetensors",
        "loras/nameless.safetensors",
        "loras/zoe_torn.safetensors",
    }
    assert "placeholder" in moved.skipped["loras/ada_b_second.safetensors"]
    assert "safetensors" in moved.skipped["loras/zoe_torn.safetensors"]
    assert storage.get("datasets/ada_b/job/clip_0000.wav") == b"ours"
    assert storage.get("uploads/ada_b/job/beat.wav") == beat(1)
    twin = Library(storage).find("ada_b:night")[0]
    pairs = decode(Library(storage).read(twin), model).pairs
    # With the scale of the adapter_config.json that lay beside its copy.
    assert_same({name: (pair.a @ pair.b).T for name, pair in pairs.items()}, deltas(peft_of(model.adapted)))
    before = {entry.key: entry.etag for entry in storage.list("")}
    again = moved_in(tree, storage, runners)
    assert (again.copied, again.twins, again.already_there) == ({}, {}, 4)
    assert again.skipped == moved.skipped
    assert {entry.key: entry.etag for entry in storage.list("")} == before


def test_what_is_no_tree(tmp_path: Path, runners: Runners) -> None:
    with pytest.raises(Refusal, match="--from") as refusal:
        moved_in(tmp_path, open_storage((tmp_path / "new").as_uri()), runners)
    assert refusal.value.status == 404
