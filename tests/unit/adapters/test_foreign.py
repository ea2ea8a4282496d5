"""Adapters made elsewhere: as PEFT and diffusers write them themselves, and with the names of ComfyUI and kohya."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AceStepPipeline
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save

from adapters.adapter_file import PREFIX, Header, InvalidAdapter, parse_header
from adapters.foreign import convert
from adapters.serialization import decode, encode
from adapters.weights import LoraPair, linear_layers
from models.ace_step import AceStep
from models.checkpoints import resolve
from models.musicgen import MusicGen
from models.tiny import musicgen as tiny_musicgen
from tests.peft_files import (
    ALPHA,
    HEADER,
    RANK,
    assert_same,
    converted_deltas,
    deltas,
    peft_of,
    peft_tensors,
    saved_by_peft,
)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"to_out.0": 2}, "alpha_pattern": {"layers.0.self_attn.to_q": 1}},
    ],
    ids=["plain", "rank-stabilised", "by pattern"],
)
def test_a_peft_folder(model: AceStep, tmp_path: Path, more: dict[str, object]) -> None:
    peft = peft_of(model.adapted, **more)
    assert_same(converted_deltas(model, *saved_by_peft(peft, tmp_path)), deltas(peft))


def test_an_original_ace_step_folder(model: AceStep, tmp_path: Path) -> None:
    """The original's decoder has other names for the same layers."""
    peft = peft_of(model.adapted)
    _, config = saved_by_peft(peft, tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    renamed = {
        key.replace(".to_q.", ".q_proj.").replace(".to_out.0.", ".o_proj."): tensor
        for key, tensor in load_file(path).items()
    }
    assert renamed.keys().isdisjoint(load_file(path))
    assert_same(converted_deltas(model, save(renamed), config), deltas(peft))
    in_app = {f"base_model.model.decoder.{key.removeprefix('base_model.model.')}": t for key, t in renamed.items()}
    assert_same(converted_deltas(model, save(in_app), config), deltas(peft))


def test_a_file_of_diffusers(model: AceStep, tmp_path: Path) -> None:
    peft = peft_of(model.adapted)
    config = peft.peft_config["default"].to_dict()  # type: ignore[union-attr, operator, index]
    layers = {key.removeprefix("base_model.model."): t for key, t in get_peft_model_state_dict(peft).items()}
    AceStepPipeline.save_lora_weights(
        str(tmp_path), transformer_lora_layers=layers, transformer_lora_adapter_metadata=config
    )
    (file,) = tmp_path.iterdir()
    assert_same(converted_deltas(model, file.read_bytes()), deltas(peft))


NAMINGS: dict[str, Callable[[str], str]] = {
    "comfyui": lambda module: f"diffusion_model.{module}",
    "kohya": lambda module: "lora_unet_" + module.replace(".", "_"),
}


@pytest.mark.parametrize("naming", NAMINGS)
def test_the_names_of_other_tools(model: AceStep, naming: str) -> None:
    peft = peft_of(model.adapted)
    tensors: dict[str, torch.Tensor] = {}
    for key, tensor in get_peft_model_state_dict(peft).items():  # type: ignore[arg-type]
        module, _, part = key.removeprefix("base_model.model.").rpartition(".lora_")
        name = NAMINGS[naming](model.file_name(module))
        tensors[f"{name}.lora_{'down' if part.startswith('A') else 'up'}.weight"] = tensor.half()
        tensors[f"{name}.alpha"] = torch.tensor(float(ALPHA))
    found, wanted = converted_deltas(model, save(tensors)), deltas(peft)
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=0, atol=5e-3 * float(wanted[name].std()) * 10)


def test_without_an_alpha_it_is_the_rank_and_that_is_said(model: AceStep) -> None:
    peft = peft_of(model.adapted, lora_alpha=RANK)
    made = convert(save(dict(get_peft_model_state_dict(peft))), None, HEADER, model)  # type: ignore[arg-type]
    assert any("alpha" in note for note in made.notes)
    assert_same({n: (p.a @ p.b).T for n, p in decode(made.data, model).pairs.items()}, deltas(peft))


def test_our_own_file_comes_back(model: AceStep) -> None:
    peft = peft_of(model.adapted, lora_alpha=RANK)
    made = convert(save(dict(get_peft_model_state_dict(peft))), None, HEADER, model)  # type: ignore[arg-type]
    again = convert(made.data, None, HEADER, model)
    assert (again.header.sha256, again.header.bpm, again.notes) == (made.header.sha256, None, [])


def test_a_twin_keeps_its_tempo_and_its_scale(model: AceStep) -> None:
    pairs = {
        name: LoraPair(torch.ones(layer.in_features, 1), torch.ones(1, layer.out_features))
        for name, layer in linear_layers(model.adapted).items()
    }
    data = encode(replace(HEADER, bpm=128, recommended_scale=0.75), pairs, model)
    for header in (decode(data, model).header, convert(data, None, HEADER, model).header):
        assert (header.bpm, header.recommended_scale, header.default_scale) == (128, 0.75, 0.75)
    metadata = replace(HEADER, sha256="0" * 64).to_metadata()
    del metadata["bpm"], metadata["recommended_scale"]  # as in files of earlier versions
    earlier = Header.from_metadata(metadata)
    assert (earlier.bpm, earlier.recommended_scale, earlier.default_scale) == (None, None, 1.0)
    with pytest.raises(InvalidAdapter, match="30 to 300"):
        Header.from_metadata(metadata | {"bpm": "29"})
    for scale in ("2.5", "-1", "nan", "much"):
        with pytest.raises(InvalidAdapter, match=r"scale|float"):
            Header.from_metadata(metadata | {"recommended_scale": scale})


def test_musicgen_by_peft(tmp_path: Path) -> None:
    checkpoint = resolve("starter", "musicgen_test", tiny_musicgen.build)
    musicgen = MusicGen.load(checkpoint, torch.device("cpu"), torch.float32)
    peft = peft_of(musicgen.model, target_modules=r"decoder\..*(q_proj|fc1)")
    found = converted_deltas(
        musicgen, *saved_by_peft(peft, tmp_path), header=Header(**HEADER.__dict__ | {"backend": "musicgen"})
    )
    assert_same(found, {name.removeprefix("decoder."): delta for name, delta in deltas(peft).items()})


Damage = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
REFUSED: dict[str, tuple[Damage, dict[str, object], str]] = {
    "another model": (lambda t: {key.replace("layers", "blocks"): v for key, v in t.items()}, {}, "matches nothing"),
    "a text encoder's": (
        lambda t: {key.replace("base_model.model.", "text_encoder."): v for key, v in t.items()},
        {},
        "matches nothing",
    ),
    "another width": (lambda t: {k: torch.cat([v, v], 1) if "lora_A" in k else v for k, v in t.items()}, {}, "layer"),
    "one half": (lambda t: {key: v for key, v in t.items() if "lora_A" in key}, {}, "lora_B|half"),
    "zeros": (lambda t: {key: v * 0 for key, v in t.items()}, {}, "zero"),
    "not finite": (lambda t: {key: v * float("nan") for key, v in t.items()}, {}, "finite"),
    "nothing": (lambda t: {}, {}, "no adapter weights"),
    "whole layers": (lambda t: t, {"modules_to_save": ["proj_out"]}, "modules_to_save"),
    "biases": (lambda t: t, {"bias": "all"}, "biases"),
    "another kind": (lambda t: t, {"peft_type": "IA3"}, "IA3"),
    "a pattern that is searched for ever": (lambda t: t, {"alpha_pattern": {r"(\w+\.?)+!": 1}}, "only names"),
    "an alpha that is no number": (lambda t: t, {"lora_alpha": "much"}, "not a number"),
    "an endless alpha": (lambda t: t, {"lora_alpha": 1e400}, "not a number"),
    "vectors": (lambda t: {key: v[0] for key, v in t.items()}, {}, "no matrix"),
    "many alphas": (lambda t: {key.replace("lora_A.weight", "alpha"): v for key, v in t.items()}, {}, "one number"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_fit_is_refused_with_the_reason(model: AceStep, kind: str) -> None:
    change, config, reason = REFUSED[kind]
    with pytest.raises(InvalidAdapter, match=reason):
        convert(save(change(peft_tensors(model))), json.dumps(config).encode() if config else None, HEADER, model)


DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    "data", [b"", b"PK\3\4", b"\x80\x02}q", save({"a": torch.ones(1)})[:-1], struct.pack("<Q", len(DEEP)) + DEEP]
)
def test_what_is_no_safetensors_file(model: AceStep, data: bytes) -> None:
    with pytest.raises(InvalidAdapter, match="safetensors"):
        convert(data, None, HEADER, model)


def test_a_configuration_that_is_no_json(model: AceStep) -> None:
    for config in (DEEP, b"\xff", b"[]"):
        with pytest.raises(InvalidAdapter, match=r"adapter_config\.json"):
            convert(save(peft_tensors(model)), config, HEADER, model)


def test_parts_whose_product_has_any_size_take_no_memory(model: AceStep) -> None:
    name = next(iter(linear_layers(model.adapted)))
    large = torch.ones(3000, 3000)
    # 81 TB of numbers, if it were multiplied out.
    tensors = {f"{PREFIX}{model.file_name(name)}.lokr_w{number}": large for number in (1, 2)}
    with pytest.raises(InvalidAdapter, match="9000000"):
        convert(save({key: tensor.clone() for key, tensor in tensors.items()}), None, HEADER, model)


@pytest.mark.parametrize("offsets", ["[0, 1e400]", "[0, null]", "[0]", "{}"])
def test_a_table_that_is_none(offsets: str) -> None:
    table = f'{{"x.lora_A.weight": {{"dtype": "F32", "shape": [1], "data_offsets": {offsets}}}}}'.encode()
    with pytest.raises(InvalidAdapter, match="safetensors"):
        parse_header(table, 8 + len(table) + 4)
    with pytest.raises(InvalidAdapter, match="safetensors"):
        parse_header(DEEP, 8 + len(DEEP))


def test_a_layer_with_a_pattern_is_not_one_with_a_longer_name(model: AceStep) -> None:
    """`linear_1` must not take what is said of another layer that ends alike."""
    assert len(linear_layers(model.adapted)) > 10
    peft = peft_of(model.adapted, target_modules=["linear_1", "linear_2"], alpha_pattern={"linear_1": 1})
    config = json.dumps({"lora_alpha": ALPHA, "r": RANK, "alpha_pattern": {"linear_1": 1}}).encode()
    assert_same(converted_deltas(model, save(dict(get_peft_model_state_dict(peft))), config), deltas(peft))  # type: ignore[arg-type]
