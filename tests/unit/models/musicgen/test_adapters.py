"""Adapters of MusicGen: what they change, and their files."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch

from adapters.adapter_file import PREFIX
from adapters.batched_lora import blend
from adapters.serialization import decode, encode
from contract import SamplingOptions
from models.base import Row
from models.musicgen import MusicGen
from tests.unit.models.musicgen.support import PROMPT, adapter, play, token_rows, write


def test_an_adapter_changes_its_row_alone(model: MusicGen) -> None:
    base, changed = (
        Row(PROMPT, 0.5, SamplingOptions(seed=1)),
        Row(PROMPT, 0.5, SamplingOptions(seed=1), adapters=[(adapter(model, 4, 1), 1.0)]),
    )
    (alone,) = play(model, base)
    beside, twin = play(model, base, changed)
    assert np.array_equal(alone, beside)
    assert np.abs(twin - alone).max() > 0.01


def test_two_halves_of_an_adapter_are_the_adapter(model: MusicGen) -> None:
    weights, row = adapter(model, 8, 1), token_rows(model)[1]
    whole, halves = write(
        model,
        replace(row, pairs=blend([(weights, 1.0)])),
        replace(row, pairs=blend([(weights, 0.5), (weights, 0.5)])),
    )
    assert torch.equal(whole, halves)


def test_adapters_equal_merged_weights(model: MusicGen) -> None:
    weights, row = adapter(model, 8, 1), token_rows(model)[0]
    merged = copy.deepcopy(model.model)
    for name, pair in weights.pairs.items():
        merged.decoder.get_submodule(name).weight.data += 0.8 * (pair.a @ pair.b).T
    (expected,) = write(MusicGen(merged, model.tokenizer), replace(row, pairs=blend(())), greedy=True)
    beside = write(model, *token_rows(model), replace(row, pairs=blend([(weights, 0.8)])), greedy=True)
    assert torch.equal(beside[-1], expected)


def test_a_file_goes_out_and_comes_back(model: MusicGen) -> None:
    weights = adapter(model, 4, 3)
    data = encode(weights.header, weights.pairs, model)
    assert f"{PREFIX}decoder.model.decoder.layers.0.self_attn.q_proj.lora_A.weight".encode() in data
    back = decode(data, model)
    assert back.pairs.keys() == weights.pairs.keys()
    for name, pair in back.pairs.items():
        assert torch.equal(pair.a, weights.pairs[name].a) and torch.equal(pair.b, weights.pairs[name].b)


def test_peft_loads_the_file_onto_the_stock_model(model: MusicGen) -> None:
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    from safetensors.torch import load

    weights = adapter(model, 4, 3, ("q_proj",))
    stock = get_peft_model(
        copy.deepcopy(model.model), LoraConfig(r=4, lora_alpha=4, target_modules=r"decoder\..*q_proj")
    )
    outcome = set_peft_model_state_dict(stock, load(encode(weights.header, weights.pairs, model)))
    assert not outcome.unexpected_keys
    layer = stock.get_submodule("base_model.model.decoder.model.decoder.layers.0.self_attn.q_proj")
    assert torch.equal(layer.lora_A["default"].weight.T, weights.pairs["model.decoder.layers.0.self_attn.q_proj"].a)
