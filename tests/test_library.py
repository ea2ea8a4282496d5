"""Twins in storage and in the Bento model store."""

from __future__ import annotations

import json
from pathlib import Path

import bentoml
import pytest
import torch
from peft import PeftConfig

from errors import Refusal
from models import bento_store
from models.ace_step import AceStep
from models.adapter_file import Header
from models.adapters import LoraPair, decode, encode, linear_layers
from models.checkpoints import Checkpoint, resolve
from models.library import Library
from models.tiny import ace_step as tiny
from runners.adapters import Adapters
from runners.messages import AdapterRef
from storage import Storage, keys, open_storage
from training.run import patiently


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return resolve("starter", "ace_step_test", tiny.build)


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> AceStep:
    return AceStep.load(checkpoint, torch.device("cpu"), torch.float32)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage((tmp_path / "data").as_uri())


def _stored(storage: Storage, model: AceStep, checkpoint: Checkpoint, name: str, scale: float = 1.0) -> Header:
    pairs = {
        layer: LoraPair(torch.full((linear.in_features, 2), scale), torch.ones(2, linear.out_features))
        for layer, linear in linear_layers(model.adapted).items()
        if layer.endswith("to_q")
    }
    header = Header("ada", name, "ace_step", "starter", checkpoint.sha256, 2, "j", "2026-01-01T00:00:00+00:00", "")
    data = encode(header, pairs, model)
    header = decode(data, model).header
    Library(storage).save(data, header)
    return header


def _cached(header: Header) -> Path:
    return Path(bentoml.models.get(f"{bento_store._name(header.lora_id)}:{header.version}").path)


@pytest.mark.parametrize("damage", ["short", "no file", "no yaml"])
def test_a_damaged_copy_gives_way_to_storage(
    storage: Storage, model: AceStep, checkpoint: Checkpoint, damage: str
) -> None:
    header = _stored(storage, model, checkpoint, damage.replace(" ", "_"))
    copy = _cached(header)
    if damage == "short":
        (copy / "adapter_model.safetensors").write_bytes(b"short")
    else:
        (copy / ("adapter_model.safetensors" if damage == "no file" else "model.yaml")).unlink()
    ref = AdapterRef(key=keys.lora("ada", header.model_name), header=header)
    assert Adapters(storage, model, checkpoint).get(ref).header == header


def test_a_twin_of_another_checkpoint_is_not_used(storage: Storage, model: AceStep, checkpoint: Checkpoint) -> None:
    header = _stored(storage, model, Checkpoint("starter", checkpoint.folder, "f" * 64), "old")
    with pytest.raises(Refusal) as caught:
        Adapters(storage, model, checkpoint).get(AdapterRef(key=keys.lora("ada", "old"), header=header))
    assert caught.value.status == 409 and "train it again" in caught.value.message


def test_the_producers_folder_is_one_that_peft_reads(
    storage: Storage, model: AceStep, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    _stored(storage, model, checkpoint, "peft")
    folder = tmp_path / "data" / "models" / "ada"
    config = PeftConfig.from_pretrained(str(folder))
    assert set(config.target_modules) == {"q_proj"} and config.lora_alpha == config.r == 2
    assert json.loads((folder / "adapter_config.json").read_text())["peft_type"] == "LORA"


def test_deleting_removes_what_is_damaged_and_leaves_other_twins(
    storage: Storage, model: AceStep, checkpoint: Checkpoint
) -> None:
    library = Library(storage)
    _stored(storage, model, checkpoint, "first")
    _stored(storage, model, checkpoint, "second", scale=2.0)
    library.delete("ada:first")
    assert library.exists("ada:second") and not library.exists("ada:first")
    storage.put(keys.model("ada"), b"placeholder")
    library.delete("ada:second")
    assert not list(storage.list("loras/")) and not list(storage.list("models/"))


def test_storage_that_is_away_for_a_while_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from storage import Unavailable

    monkeypatch.setattr("training.run._RETRY_SECONDS", 0.0)
    attempts: list[int] = []

    def write() -> None:
        attempts.append(1)
        if len(attempts) < 4:
            raise Unavailable(503, "storage cannot be reached")

    patiently(write)
    assert len(attempts) == 4
