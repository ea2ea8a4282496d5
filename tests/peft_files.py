"""Adapters made with PEFT, for tests that import or convert them."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from torch import Tensor

from adapters.adapter_file import Header
from adapters.foreign import Converted, convert
from adapters.serialization import decode
from adapters.weights import linear_layers
from models.ace_step import AceStep
from models.musicgen import MusicGen

RANK, ALPHA = 4, 12
HEADER = Header("p", "m", "ace_step", "starter", "b" * 64, 0, "", "2026-01-01T00:00:00+00:00", "")
Deltas = dict[str, Tensor]  # ΔW `[out, in]` by layer name


def peft_of(root: torch.nn.Module, **config: object) -> torch.nn.Module:
    """A copy of `root` with a LoRA of random weights, as PEFT's own model."""
    torch.manual_seed(3)
    defaults = {"r": RANK, "lora_alpha": ALPHA, "target_modules": ["to_q", "to_out.0"], "init_lora_weights": False}
    return get_peft_model(copy.deepcopy(root), LoraConfig(**defaults | config))  # type: ignore[arg-type]


def peft_tensors(model: AceStep) -> dict[str, Tensor]:
    """The tensors of such a LoRA, by their names in PEFT's files."""
    return dict(get_peft_model_state_dict(peft_of(model.adapted)))  # type: ignore[arg-type]


def saved_by_peft(peft: torch.nn.Module, folder: Path) -> tuple[bytes, bytes]:
    """PEFT's two files: the tensors and the configuration."""
    peft.save_pretrained(folder)  # type: ignore[operator]
    return (folder / "adapter_model.safetensors").read_bytes(), (folder / "adapter_config.json").read_bytes()


def deltas(peft: torch.nn.Module) -> Deltas:
    """ΔW of each layer, as PEFT computes it."""
    return {
        name.removeprefix("base_model.model."): layer.get_delta_weight("default").detach()
        for name, layer in peft.named_modules()
        if hasattr(layer, "get_delta_weight")
    }


def merged_by_peft(peft: torch.nn.Module) -> dict[str, Tensor]:
    """The weight of each layer, with the adapter merged by PEFT."""
    whole = copy.deepcopy(peft).merge_and_unload()  # type: ignore[operator]
    return {name: layer.weight.detach() for name, layer in linear_layers(whole).items()}


def converted_deltas(
    model: AceStep | MusicGen, data: bytes, config: bytes | None = None, header: Header = HEADER
) -> Deltas:
    """ΔW of each layer of a LoRA, after it was converted to a file of ours and read back."""
    made = convert(data, config, header, model)
    assert made.header.producer_id == "p" and made.header.base_sha256 == "b" * 64
    return {name: (pair.a @ pair.b).T for name, pair in decode(made.data, model).pairs.items()}


def converted_delta(made: Converted, model: AceStep, name: str) -> Tensor:
    """ΔW of one layer of a converted adapter of any kind."""
    pair = made.weights.pairs.get(name)
    layer = linear_layers(model.adapted)[name]
    return (pair.a @ pair.b).T if pair else made.weights.deltas[name].of(layer.weight)


def assert_same(found: Deltas, wanted: Deltas) -> None:
    assert found.keys() == wanted.keys() and wanted
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-6)
