"""The PEFT folder that is stored for a twin, the texts in PEFT's settings, and the digests of adapter files."""

from __future__ import annotations

import copy
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoHaConfig, PeftModel, get_peft_model
from safetensors.torch import save

from adapters.adapter_file import InvalidAdapter, header_length, parse_header
from adapters.foreign import convert
from adapters.library import Library
from adapters.serialization import encode_tensors
from adapters.stored_adapter import is_intact
from adapters.weights import linear_layers
from models.ace_step import AceStep
from storage import Storage, keys, open_storage
from tests.peft_files import (
    HEADER,
    merged_by_peft,
    peft_of,
    peft_tensors,
    saved_by_peft,
)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage((tmp_path / "data").as_uri())


KINDS: dict[str, dict[str, Any]] = {
    "lora of two ranks": {"rank_pattern": {"to_out.0": 3}},
    "dora": {"use_dora": True, "rank_pattern": {"to_out.0": 3}},
}


@pytest.mark.parametrize("kind", [*KINDS, "loha"])
def test_peft_reads_the_producers_folder_as_the_twin_it_is(
    storage: Storage, model: AceStep, tmp_path: Path, kind: str
) -> None:
    wanted = peft_of(model.adapted, **KINDS[kind]) if kind in KINDS else None
    if wanted is None:
        config = LoHaConfig(r=2, alpha=3, target_modules=["to_q", "to_out.0"], init_weights=False)
        wanted = get_peft_model(copy.deepcopy(model.adapted), config)
    made = convert(*saved_by_peft(wanted, tmp_path / "peft"), HEADER, model)
    Library(storage).save(made.data, made.header)
    plain = torch.nn.ModuleDict({})  # of layers by the names that the file has
    for name, layer in linear_layers(model.adapted).items():
        _put(plain, model.file_name(name), copy.deepcopy(layer))
    found = PeftModel.from_pretrained(plain, str(tmp_path / "data/models/p"))
    merged = dict(found.merge_and_unload().named_modules())
    for name, weight in merged_by_peft(wanted).items():
        torch.testing.assert_close(merged[model.file_name(name)].weight, weight, rtol=1e-4, atol=1e-5)


def _put(root: torch.nn.Module, name: str, layer: torch.nn.Module) -> None:
    *path, last = name.split(".")
    for part in path:
        if not hasattr(root, part):
            root.add_module(part, torch.nn.Module())
        root = getattr(root, part)
    root.add_module(last, layer)


def test_a_twin_that_peft_has_no_name_for_leaves_no_configuration_of_another(
    storage: Storage, model: AceStep, tmp_path: Path
) -> None:
    before = convert(*saved_by_peft(peft_of(model.adapted), tmp_path), replace(HEADER, producer_id="ada"), model)
    Library(storage).save(before.data, before.header)
    assert storage.stat(keys.model_config("ada")) is not None
    tensors = {"layers.0.self_attn.q_proj.lokr_w1": torch.ones(2, 2)}
    layer = linear_layers(model.adapted)["layers.0.self_attn.to_q"]
    tensors["layers.0.self_attn.q_proj.lokr_w2"] = torch.ones(layer.out_features // 2, layer.in_features // 2)
    made = convert(save(tensors), None, replace(HEADER, producer_id="ada"), model)
    Library(storage).save(made.data, made.header)
    assert storage.stat(keys.model_config("ada")) is None and storage.stat(keys.model("ada")) is not None


def test_an_adapter_is_laid_out_once_and_copied_once() -> None:
    tensors = {f"base_model.model.layers.{number}.lora_A.weight": torch.zeros(100_000) for number in range(20)}
    tracemalloc.start()
    data = encode_tensors(tensors, HEADER)
    assert tracemalloc.get_traced_memory()[1] < 2.3 * len(data)
    tracemalloc.stop()
    assert is_intact(data, parse_header(data[8 : 8 + header_length(data)], len(data)))


@pytest.mark.parametrize("config", [b'{"\\ud800": 1}', b'{"task_type": ["\\udfff"]}'])
def test_texts_that_cannot_be_told_are_refused(model: AceStep, config: bytes) -> None:
    with pytest.raises(InvalidAdapter, match="Unicode"):
        convert(save(peft_tensors(model)), config, HEADER, model)
    plain = save(peft_tensors(model), {"base": "x" * 6})
    with pytest.raises(InvalidAdapter, match="Unicode"):
        convert(plain.replace(b"xxxxxx", b"\\ud800"), None, HEADER, model)
