"""Adapters as the tools around ACE-Step name their layers, OFT, and adapters of another size of the model."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from peft import OFTConfig, get_peft_model
from safetensors.torch import save

from adapters.adapter_file import InvalidAdapter
from adapters.foreign import convert
from adapters.weights import linear_layers
from models.ace_step import AceStep
from models.adapter_effect import weight_change
from tests.peft_files import HEADER, RANK, converted_delta, merged_by_peft, saved_by_peft

LAYERS = ("layers.0.self_attn.to_q", "layers.1.cross_attn.to_out.0", "layers.1.mlp.gate_proj", "condition_embedder")
# A layer's name, dots as underscores where the tool has no dots, and what the tool calls the two matrices.
NAMINGS = {
    "musubi": ("lora_unet_decoder_{flat}", "lora_down.weight", "lora_up.weight"),
    "musubi, older": ("lora_unet_{flat}", "lora_down.weight", "lora_up.weight"),
    "musubi, compiled": ("lora_unet_decoder__orig_mod_{flat}", "lora_down.weight", "lora_up.weight"),
    "LyCORIS on the whole model": ("lycoris_decoder_{flat}", "lora_down.weight", "lora_up.weight"),
    "LyCORIS on the decoder": ("lycoris_{flat}", "lora_down.weight", "lora_up.weight"),
    "Side-Step's export": ("diffusion_model.decoder.{dotted}", "lora_down.weight", "lora_up.weight"),
    "Side-Step": ("base_model.model.{dotted}", "lora_A.weight", "lora_B.weight"),
    "compiled": ("base_model.model._orig_mod.{dotted}", "lora_A.weight", "lora_B.weight"),
    "DataParallel": ("module.base_model.model.{dotted}", "lora_A.default.weight", "lora_B.default.weight"),
    "both": ("base_model.model.decoder.module._orig_mod.{dotted}", "lora_A.weight", "lora_B.weight"),
}


@pytest.mark.parametrize("dora", [False, True], ids=["LoRA", "DoRA"])
@pytest.mark.parametrize("tool", NAMINGS)
def test_the_names_of_tools(model: AceStep, tool: str, dora: bool) -> None:
    torch.manual_seed(2)
    naming, down, up = NAMINGS[tool]
    tensors: dict[str, torch.Tensor] = {}
    wanted: dict[str, torch.Tensor] = {}
    for name in LAYERS:
        weight = linear_layers(model.adapted)[name].weight.detach()
        a, b = torch.randn(RANK, weight.shape[1]) * 0.2, torch.randn(weight.shape[0], RANK) * 0.2
        dotted = model.file_name(name)
        key = naming.format(flat=dotted.replace(".", "_"), dotted=dotted)
        tensors |= {f"{key}.{down}": a, f"{key}.{up}": b, f"{key}.alpha": torch.tensor(2.0 * RANK)}
        merged = weight + 2 * b @ a
        if dora:
            magnitude = weight.norm(dim=1) * 1.3
            kohya = "lora_down" in down
            part = "dora_scale" if kohya else "lora_magnitude_vector"
            tensors[f"{key}.{part}"] = magnitude[:, None] if kohya else magnitude
            merged = magnitude[:, None] * merged / merged.norm(dim=1, keepdim=True)
        wanted[name] = merged - weight
    made = convert(save(tensors), None, HEADER, model)
    assert {*made.weights.pairs, *made.weights.deltas} == wanted.keys()
    for name, delta in wanted.items():
        torch.testing.assert_close(converted_delta(made, model, name), delta, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"use_cayley_neumann": False},
        *({"num_cayley_neumann_terms": terms} for terms in (1, 2, 3, 4, 7)),
        {"block_share": True, "oft_block_size": 8},
        {"r": 4, "oft_block_size": 0},
    ],
    ids=str,
)
def test_oft_of_peft(model: AceStep, tmp_path: Path, config: dict[str, object]) -> None:
    torch.manual_seed(6)
    defaults = {"oft_block_size": 16, "target_modules": ["to_q", "down_proj"], "init_weights": False}
    peft = get_peft_model(copy.deepcopy(model.adapted), OFTConfig(**defaults | config))  # type: ignore[arg-type]
    data, settings = saved_by_peft(peft, tmp_path)
    merged = merged_by_peft(peft)
    if config.get("num_cayley_neumann_terms") == 1:
        with pytest.raises(InvalidAdapter, match="change nothing"):
            convert(data, settings, HEADER, model)
        return
    made = convert(data, settings, HEADER, model)
    assert len(made.weights.deltas) == 6 and made.notes == []
    for name in made.weights.deltas:
        expected = merged[name] - linear_layers(model.adapted)[name].weight
        torch.testing.assert_close(converted_delta(made, model, name), expected, rtol=1e-4, atol=1e-5)
    assert weight_change(made.weights, model) > 0.01
    again = convert(made.data, None, HEADER, model)
    assert again.header.sha256 == made.header.sha256


@pytest.mark.parametrize("constraint", [0.0, 1e-3])
@pytest.mark.parametrize("rescaled", [False, True])
def test_oft_of_lycoris(model: AceStep, constraint: float, rescaled: bool) -> None:
    """By its formula: each block of outputs k is multiplied by ((1 + Q) (1 - Q)⁻¹)ᵀ."""
    torch.manual_seed(7)
    name = "layers.1.cross_attn.to_k"
    weight = linear_layers(model.adapted)[name].weight.detach()
    blocks = torch.randn(4, len(weight) // 4, len(weight) // 4) * 0.1
    skew = blocks - blocks.transpose(1, 2)
    if constraint:
        skew = skew * (constraint * len(weight) / skew.norm())
    eye = torch.eye(skew.shape[-1])
    rotated = torch.einsum("knm,kni->kmi", (eye + skew) @ (eye - skew).inverse(), weight.view(4, -1, weight.shape[1]))
    expected = rotated.reshape(weight.shape)
    key = f"lycoris_decoder_{model.file_name(name).replace('.', '_')}"
    tensors = {f"{key}.oft_blocks": blocks, f"{key}.alpha": torch.tensor(constraint)}
    if rescaled:
        scale = 1 + torch.rand(len(weight), 1)
        tensors[f"{key}.rescale"], expected = scale, expected * scale
    made = convert(save(tensors), None, HEADER, model)
    torch.testing.assert_close(converted_delta(made, model, name), expected - weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"oft_R.weight": torch.ones(4, 7)}, "OFT"),
        ({"oft_R.weight": torch.ones(3, 120)}, "fit together"),
        ({"oft_blocks": torch.ones(4, 3, 2)}, "OFT"),
        ({"oft_blocks": torch.ones(4, 3, 3)}, "fit together"),
        ({"oft_blocks": torch.ones(4, 16, 16), "rescale": torch.ones(3)}, "OFT"),
        ({"oft_blocks": torch.ones(4, 16, 16), "lora_A.weight": torch.ones(2, 64)}, "OFT"),
        ({"oft_blocks": torch.zeros(4, 16, 16)}, "change nothing"),
        ({"oft_r": torch.ones(4, 4)}, "early PEFT"),
        # Larger than the layer, and refused before the rotation is computed, which would take long.
        ({"oft_R.weight": torch.ones(1, 3000 * 2999 // 2)}, "1 blocks of 3000 are not for a layer of 64"),
        ({"oft_blocks": torch.ones(1, 2000, 2000)}, "1 blocks of 2000 are not for a layer of 64"),
    ],
)
def test_oft_that_cannot_be_used(model: AceStep, parts: dict[str, torch.Tensor], reason: str) -> None:
    data = save({f"layers.0.self_attn.q_proj.{part}": tensor for part, tensor in parts.items()})
    with pytest.raises(InvalidAdapter, match=reason):
        convert(data, None, HEADER, model)


def test_constrained_oft_is_refused(model: AceStep) -> None:
    data = save({"layers.0.self_attn.q_proj.oft_R.weight": torch.ones(4, 120)})
    with pytest.raises(InvalidAdapter, match="coft"):
        convert(data, json.dumps({"peft_type": "OFT", "coft": True}).encode(), HEADER, model)


def _lora(layer: str, width: int) -> dict[str, torch.Tensor]:
    return {f"{layer}.lora_A.weight": torch.ones(2, width), f"{layer}.lora_B.weight": torch.ones(width, 2)}


def test_an_adapter_of_a_larger_model_says_so(model: AceStep) -> None:
    tensors = {
        k: t for n in (0, 1, 31) for k, t in _lora(f"base_model.model.layers.{n}.self_attn.q_proj", 2560).items()
    }
    with pytest.raises(
        InvalidAdapter, match="larger model: it has a layer 31, and the model that is served has 2 layers"
    ):
        convert(save(tensors), None, HEADER, model)


def test_an_adapter_of_a_wider_model_says_so(model: AceStep) -> None:
    with pytest.raises(InvalidAdapter, match=r"its layers are 2560 \(XL\) wide, and those of the model .* 64 wide"):
        convert(save(_lora("lora_unet_decoder_layers_0_self_attn_q_proj", 2560)), None, HEADER, model)
