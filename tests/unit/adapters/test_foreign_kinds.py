"""Adapter files of other tools: names, decompositions and types that are converted, and those that are refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save
from torch import Tensor

from adapters.adapter_file import InvalidAdapter
from adapters.foreign import Converted, convert
from adapters.weights import linear_layers
from models.ace_step import AceStep
from tests.peft_files import (
    ALPHA,
    HEADER,
    RANK,
    assert_same,
    converted_delta,
    converted_deltas,
    deltas,
    merged_by_peft,
    peft_of,
    peft_tensors,
    saved_by_peft,
)

LAYER = "layers.0.self_attn.to_k"  # not square


def as_float32(tensors: dict[str, Tensor]) -> bytes:
    return save({name: tensor.contiguous().clone() for name, tensor in tensors.items()})


# Names

NAMES: dict[str, Callable[[str], str]] = {
    "plain": lambda module: module,
    "compiled": lambda module: f"base_model.model._orig_mod.{module}",
    "compiled outside": lambda module: f"_orig_mod.base_model.model.{module}",
    "data parallel": lambda module: f"module.{module}",
    "data parallel and compiled": lambda module: f"base_model.model.module._orig_mod.{module}",
    "fsdp": lambda module: "base_model.model." + module.replace("layers.0.", "layers.0._fsdp_wrapped_module."),
    "checkpointed": lambda module: module.replace("layers.0.", "layers.0._checkpoint_wrapped_module."),
    "twice peft": lambda module: f"base_model.model.base_model.model.{module}",
    "comfyui": lambda module: f"model.diffusion_model.{module}",
    "side-step": lambda module: f"diffusion_model.decoder.{module}",
    "lycoris": lambda module: "lycoris_" + module.replace(".", "_"),
    "lycoris decoder": lambda module: "lycoris_decoder_" + module.replace(".", "_"),
    "musubi": lambda module: "lora_unet_decoder_" + module.replace(".", "_"),
    "kohya, compiled": lambda module: "lora_unet__orig_mod_" + module.replace(".", "_"),
    "kohya, compiled within": lambda module: "lora_unet_" + module.replace("0.", "0__orig_mod_", 1).replace(".", "_"),
}
SUFFIXES = {
    "peft": ("lora_A.weight", "lora_B.weight"),
    "peft, named": ("lora_A.default.weight", "lora_B.default.weight"),
    "peft, named oddly": ("lora_A.my-adapter.weight", "lora_B.my-adapter.weight"),
    "bare": ("lora_A", "lora_B"),
    "kohya": ("lora_down.weight", "lora_up.weight"),
    "diffusers": ("lora.down.weight", "lora.up.weight"),
    "transformers": ("lora_linear_layer.down.weight", "lora_linear_layer.up.weight"),
}


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", NAMES)
def test_every_spelling_of_a_layer(model: AceStep, name: str, suffix: str) -> None:
    peft = peft_of(model.adapted, lora_alpha=RANK)
    renamed = {}
    for key, tensor in get_peft_model_state_dict(peft).items():  # type: ignore[arg-type]
        module, _, half = key.removeprefix("base_model.model.").rpartition(".lora_")
        part = SUFFIXES[suffix][half.startswith("B")]
        renamed[f"{NAMES[name](model.file_name(module))}.{part}"] = tensor
    assert_same(converted_deltas(model, save(renamed)), deltas(peft))


def test_a_pattern_names_layers_through_wrappers(model: AceStep) -> None:
    peft = peft_of(model.adapted, alpha_pattern={"layers.0.self_attn.to_q": 3})
    tensors = {
        key.replace("layers.0.", "layers.0._orig_mod."): tensor
        for key, tensor in get_peft_model_state_dict(peft).items()  # type: ignore[arg-type]
    }
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA}
    for layer in ("layers.0.self_attn.to_q", "layers.0._orig_mod.self_attn.to_q", r"^layers\.0\.self_attn\.to_q$"):
        data = json.dumps(config | {"alpha_pattern": {layer: 3}}).encode()
        assert_same(converted_deltas(model, save(tensors), data), deltas(peft))


# LyCORIS


def parts_of(kind: str, out: int, into: int) -> tuple[dict[str, Tensor], Tensor]:
    """A layer's tensors by LyCORIS' names, and their product without alpha."""

    def some(*shape: int) -> Tensor:
        return torch.randn(*shape) * 0.3

    if kind == "locon":
        up, down = some(out, RANK), some(RANK, into)
        return {"lora_up.weight": up, "lora_down.weight": down}, up @ down
    if kind == "locon, 1 wide convolution":
        up, down = some(out, RANK), some(RANK, into)
        shaped = {"lora_up.weight": up[..., None, None], "lora_down.weight": down[..., None, None]}
        return shaped, up @ down
    if kind == "locon, tucker":
        up, mid, down = some(out, RANK), some(RANK, RANK), some(RANK, into)
        parts = {"lora_up.weight": up, "lora_mid.weight": mid[..., None, None], "lora_down.weight": down}
        return parts, up @ mid @ down
    if kind == "loha":
        a, b, c, d = some(out, RANK), some(RANK, into), some(out, RANK), some(RANK, into)
        return {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": c, "hada_w2_b": d}, (a @ b) * (c @ d)
    if kind == "loha, tucker":
        halves = [(some(RANK, RANK), some(RANK, out), some(RANK, into)) for _ in range(2)]
        parts = {}
        for number, (core, outer, inner) in enumerate(halves, 1):
            parts |= {f"hada_t{number}": core[..., None, None], f"hada_w{number}_a": outer, f"hada_w{number}_b": inner}
        one, two = (torch.einsum("ij,ip,jr->pr", *half) for half in halves)
        return parts, one * two
    one, two_a, two_b = some(4, 2), some(out // 4, RANK), some(RANK, into // 2)
    if kind == "lokr, whole":
        return {"lokr_w1": one, "lokr_w2": two_a @ two_b}, torch.kron(one, two_a @ two_b)
    if kind == "lokr, tucker":
        core = some(RANK, RANK)
        parts = {"lokr_w1": one, "lokr_t2": core[..., None, None], "lokr_w2_a": two_a.T, "lokr_w2_b": two_b}
        return parts, torch.kron(one, two_a @ core @ two_b)
    if kind == "lokr, both split":
        a, b = some(4, RANK), some(RANK, 2)
        parts = {"lokr_w1_a": a, "lokr_w1_b": b, "lokr_w2_a": two_a, "lokr_w2_b": two_b}
        return parts, torch.kron(a @ b, two_a @ two_b)
    assert kind == "lokr"
    return {"lokr_w1": one, "lokr_w2_a": two_a, "lokr_w2_b": two_b}, torch.kron(one, two_a @ two_b)


KINDS = ["locon", "locon, 1 wide convolution", "locon, tucker", "loha", "loha, tucker"]
KINDS += ["lokr", "lokr, whole", "lokr, both split", "lokr, tucker"]


@pytest.mark.parametrize("magnitude", ["none", "outputs", "inputs"])
@pytest.mark.parametrize("name", [LAYER, "layers.1.self_attn.to_q"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_lycoris_writes(model: AceStep, kind: str, name: str, magnitude: str) -> None:
    """By LyCORIS' formulas: W' = m (W + s ΔW) / |W + s ΔW|, the norm of each row or of each column."""
    torch.manual_seed(1)
    layer = linear_layers(model.adapted)[name]
    weight = layer.weight.detach()
    parts, product = parts_of(kind, *weight.shape)
    scale = 1.0 if kind == "lokr, whole" else 3.0 / RANK
    merged = weight + scale * product
    if magnitude != "none":
        axis = 1 if magnitude == "outputs" else 0
        parts["dora_scale"] = weight.norm(dim=axis, keepdim=True) * (1 + torch.rand(merged.sum(axis, True).shape))
        merged = parts["dora_scale"] * merged / merged.norm(dim=axis, keepdim=True)
    prefix = "lycoris_" + model.file_name(name).replace(".", "_")
    data = as_float32(
        {f"{prefix}.{part}": tensor for part, tensor in parts.items()} | {f"{prefix}.alpha": torch.tensor(3.0)}
    )
    made = convert(data, None, HEADER, model)
    torch.testing.assert_close(converted_delta(made, model, name), merged - weight, rtol=1e-4, atol=2e-6)
    # Our own file says the same again.
    again = convert(made.data, None, HEADER, model)
    assert again.header.sha256 == made.header.sha256


def test_a_scalar_that_was_not_folded_in(model: AceStep) -> None:
    layer = linear_layers(model.adapted)[LAYER]
    parts, product = parts_of("lokr", *layer.weight.shape)
    prefix = f"diffusion_model.{model.file_name(LAYER)}"
    numbers = {"alpha": torch.tensor(float(RANK)), "scalar": torch.tensor(0.25)}
    made = convert(as_float32({f"{prefix}.{name}": t for name, t in (parts | numbers).items()}), None, HEADER, model)
    torch.testing.assert_close(converted_delta(made, model, LAYER), 0.25 * product, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "given",
    [
        LoKrConfig(r=4, alpha=6, target_modules=["to_q", "to_k"], init_weights=False),
        LoKrConfig(r=64, alpha=6, target_modules=["to_q", "to_k"], init_weights=False),
        LoKrConfig(r=2, alpha=6, decompose_both=True, target_modules=["to_q", "to_k"], init_weights=False),
        LoHaConfig(r=4, alpha=6, target_modules=["to_q", "to_k"], init_weights=False),
    ],
    ids=["lokr", "lokr of whole matrices", "lokr, both split", "loha"],
)
def test_peft_lokr_and_loha(model: AceStep, tmp_path: Path, given: LoKrConfig | LoHaConfig) -> None:
    torch.manual_seed(5)
    peft = get_peft_model(copy.deepcopy(model.adapted), given)  # type: ignore[arg-type]
    made = convert(*saved_by_peft(peft, tmp_path), HEADER, model)
    wanted = deltas(peft)
    assert wanted.keys() == made.weights.deltas.keys()
    for name, delta in wanted.items():
        torch.testing.assert_close(converted_delta(made, model, name), delta, rtol=1e-4, atol=1e-6)


def assert_merged(made: Converted, model: AceStep, peft: torch.nn.Module, names: tuple[str, ...]) -> None:
    merged = merged_by_peft(peft)
    for name, layer in linear_layers(model.adapted).items():
        if name.endswith(names):
            wanted = merged[name] - layer.weight
            torch.testing.assert_close(converted_delta(made, model, name), wanted, rtol=1e-3, atol=1e-5)


def test_peft_dora(model: AceStep, tmp_path: Path) -> None:
    peft = peft_of(model.adapted, use_dora=True)
    assert_merged(convert(*saved_by_peft(peft, tmp_path), HEADER, model), model, peft, ("to_q", "to_out.0"))


def test_peft_dora_without_its_magnitudes(model: AceStep) -> None:
    with pytest.raises(InvalidAdapter, match="use_dora"):
        convert(save(peft_tensors(model)), b'{"use_dora": true}', HEADER, model)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
)
def test_the_types_that_tools_write(model: AceStep, dtype: torch.dtype) -> None:
    tensors = {key: tensor.to(dtype) for key, tensor in peft_tensors(model).items()}
    made = convert(save(tensors), None, HEADER, model)
    key = f"base_model.model.{LAYER.replace('to_k', 'to_q')}.lora_"
    wanted = tensors[f"{key}B.weight"].float() @ tensors[f"{key}A.weight"].float()
    torch.testing.assert_close(converted_delta(made, model, LAYER.replace("to_k", "to_q")), wanted)


# Initialisations


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga", "PiSSA"])
def test_a_start_that_changed_the_model_itself_is_refused(model: AceStep, start: str) -> None:
    config = json.dumps({"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "init_lora_weights": start}).encode()
    with pytest.raises(InvalidAdapter, match="init_lora_weights"):
        convert(save(peft_tensors(model)), config, HEADER, model)


def test_a_start_that_is_not_known_is_refused(model: AceStep) -> None:
    for start in ("spectral_2031", 3, {"a": 1}):
        with pytest.raises(InvalidAdapter, match="init_lora_weights"):
            convert(save(peft_tensors(model)), json.dumps({"init_lora_weights": start}).encode(), HEADER, model)


@pytest.mark.parametrize("start", [True, False, None, "gaussian", "orthogonal", "eva"])
def test_a_start_that_did_not(model: AceStep, start: object) -> None:
    peft = peft_of(model.adapted)
    config = json.dumps({"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "init_lora_weights": start}).encode()
    assert_same(converted_deltas(model, save(peft_tensors(model)), config), deltas(peft))


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_what_peft_converted_is_a_plain_one(model: AceStep, tmp_path: Path, start: str) -> None:
    peft = peft_of(model.adapted, init_lora_weights=start)
    config: LoraConfig = peft.peft_config["default"]  # type: ignore[union-attr, index, assignment]
    config.init_lora_weights = True
    peft.save_pretrained(tmp_path / "initial")  # type: ignore[operator]
    config.init_lora_weights = start
    with torch.no_grad():
        for name, parameter in peft.named_parameters():
            if "lora_" in name:
                parameter.add_(0.05 * torch.randn_like(parameter))
    peft.save_pretrained(tmp_path / "out", path_initial_model_for_weight_conversion=str(tmp_path / "initial"))  # type: ignore[operator]
    made = convert(
        (tmp_path / "out/adapter_model.safetensors").read_bytes(),
        (tmp_path / "out/adapter_config.json").read_bytes(),
        HEADER,
        model,
    )
    assert_merged(made, model, peft, ("to_q", "to_out.0"))


VARIANTS: dict[str, object] = {
    "lora_bias": True,
    "use_qalora": True,
    "alora_invocation_tokens": [1],
    "kasa_config": {"beta": 1},
    "layer_replication": [[0, 2]],
    "target_parameters": ["x"],
    "trainable_token_indices": [1],
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_that_compute_something_else(model: AceStep, name: str) -> None:
    with pytest.raises(InvalidAdapter, match=name):
        convert(save(peft_tensors(model)), json.dumps({name: VARIANTS[name]}).encode(), HEADER, model)


def test_what_is_not_known_of_a_configuration_is_said(model: AceStep) -> None:
    config = LoraConfig(r=RANK, lora_alpha=ALPHA).to_dict() | {"use_magic": True, "target_modules": ["to_q"]}
    made = convert(save(peft_tensors(model)), json.dumps(config, default=str).encode(), HEADER, model)
    assert [note for note in made.notes if "use_magic" in note] and len(made.notes) == 1


# What cannot be used, and what to do about it

UNUSABLE = {
    "lora_B.bias": "lora_bias",
    "diff": "extract",
    "diff_b": "extract",
    "w_norm": "train_norm",
    "oft_blocks": "OFT",
    "oft_R.weight": "OFT",
    "a1.weight": "GLoRA",
    "on_input": "IA3",
    "lora_E": "AdaLoRA",
    "lora_embedding_A": "embeddings",
    "scale_weight": "quantised",
    "weight": "checkpoint",
}


@pytest.mark.parametrize("part", UNUSABLE)
def test_what_is_known_and_cannot_be_used(model: AceStep, part: str) -> None:
    tensors = peft_tensors(model) | {f"base_model.model.{LAYER}.{part}": torch.ones(2)}
    with pytest.raises(InvalidAdapter, match=UNUSABLE[part]):
        convert(save(tensors), None, HEADER, model)


@pytest.mark.parametrize("key", ["lora_te1_text_model_x.lora_up.weight", "text_encoder.layers.0.q_proj.lora_A.weight"])
def test_text_encoders(model: AceStep, key: str) -> None:
    with pytest.raises(InvalidAdapter, match="text encoder"):
        convert(save(peft_tensors(model) | {key: torch.ones(2, 2)}), None, HEADER, model)


@pytest.mark.parametrize("kind", ["lokr", "loha", "locon"])
@pytest.mark.parametrize("shape", [(), (3,), (3, 1), (1, 3), (1, 1), (1, 1, 1), (64, 64)])
def test_magnitudes_of_another_layer(model: AceStep, kind: str, shape: tuple[int, ...]) -> None:
    parts, _ = parts_of(kind, *linear_layers(model.adapted)[LAYER].weight.shape)
    parts["dora_scale"] = torch.ones(shape)
    with pytest.raises(InvalidAdapter, match="dora_scale"):
        convert(as_float32({f"{LAYER}.{name}": tensor for name, tensor in parts.items()}), None, HEADER, model)


def test_more_parts_than_one_product_has(model: AceStep) -> None:
    parts, _ = parts_of("lokr", *linear_layers(model.adapted)[LAYER].weight.shape)
    for more in ({"lokr_w2": torch.ones(8, 32)}, {"hada_w1_a": torch.ones(2, 2)}, {"lora_A.weight": torch.ones(2, 64)}):
        with pytest.raises(InvalidAdapter):
            convert(as_float32({f"{LAYER}.{name}": t for name, t in (parts | more).items()}), None, HEADER, model)


def test_a_rank_that_costs_more_than_the_layer(model: AceStep) -> None:
    out, into = linear_layers(model.adapted)[LAYER].weight.shape
    tensors = {f"{LAYER}.lora_A.weight": torch.ones(5000, into), f"{LAYER}.lora_B.weight": torch.ones(out, 5000)}
    with pytest.raises(InvalidAdapter, match="rank is 5000"):
        convert(save(tensors), None, HEADER, model)
