"""Adapters reduced to one kind of layers, for rows that scale the kinds apart."""

from __future__ import annotations

from dataclasses import replace

import torch

from adapters.batched_lora import batch_key, blend, stack_pairs
from adapters.delta_weights import DoraDelta, LoraDelta
from adapters.merged_weights import MergedWeights
from adapters.weights import AdapterWeights, LoraPair, kind_of_layer, linear_layers
from tests.random_adapters import header

ATTENTION, MLP = "layers.0.self_attn.to_q", "layers.0.mlp.up_proj"


class _Layer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self_attn = torch.nn.ModuleDict({"to_q": torch.nn.Linear(8, 8)})
        self.mlp = torch.nn.ModuleDict({"up_proj": torch.nn.Linear(8, 12)})


class _Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([_Layer()])


ROOT = _Model()


def _lora() -> AdapterWeights:
    layers = linear_layers(ROOT)
    pairs = {
        name: LoraPair(torch.randn(layer.in_features, 4), torch.randn(4, layer.out_features))
        for name, layer in layers.items()
    }
    return AdapterWeights(header("toy", 4), pairs)


def _dora() -> AdapterWeights:
    deltas = {
        name: DoraDelta(
            LoraDelta(torch.randn(layer.out_features, 2), torch.randn(2, layer.in_features)),
            layer.weight.norm(dim=1, keepdim=True) * 1.2,
        )
        for name, layer in linear_layers(ROOT).items()
    }
    return AdapterWeights(replace(header("toy", 2), sha256="dora"), {}, deltas)


def _parts(weights: AdapterWeights, attention: float, mlp: float) -> list[tuple[AdapterWeights, float]]:
    return [(weights.only("attention"), attention), (weights.only("mlp"), mlp)]


def test_layers_are_of_attention_or_not() -> None:
    names = [
        "transformer_blocks.3.cross_attn.to_out.0",
        "model.decoder.layers.0.encoder_attn.out_proj",
        "model.decoder.layers.0.fc1",
        "time_embed.linear_1",
        "lm_heads.1",
    ]
    assert [kind_of_layer(name) for name in names] == ["attention", "attention", "mlp", "mlp", "mlp"]


def test_rows_of_one_batch_have_their_own_scales_of_each_kind() -> None:
    weights = _lora()
    rows = [[(weights, 1.0)], _parts(weights, 1, 1), _parts(weights, 0.5, 2), _parts(weights, 0, 1), []]
    stacked = stack_pairs(ROOT, [blend(row) for row in rows])
    for name, scales in ((ATTENTION, (1, 1, 0.5, 0, 0)), (MLP, (1, 1, 2, 1, 0))):
        change = weights.pairs[name].a @ weights.pairs[name].b
        for row, scale in enumerate(scales):
            torch.testing.assert_close(stacked[name].a[row] @ stacked[name].b[row], scale * change)
    assert {batch_key(row) for row in rows} == {None}


def test_a_kind_that_the_adapter_lacks_changes_nothing() -> None:
    weights = _lora().only("attention")
    found, expected = blend(_parts(weights, 0.5, 2)), blend([(weights, 0.5)])
    assert found.keys() == expected.keys() == {ATTENTION}
    assert torch.equal(found[ATTENTION].b, expected[ATTENTION].b)


def test_merged_copies_are_not_shared_with_the_whole_adapter() -> None:
    weights, merged = _dora(), MergedWeights(ROOT)
    rows = [[(weights, 1.0)], _parts(weights, 1, 0), _parts(weights, 0, 1), _parts(weights, 1, 1)]
    assert len({batch_key(row) for row in rows}) == len(rows)
    whole, attention, mlp, both = (merged.get(row) for row in rows)
    assert [set(each) for each in (whole, attention, mlp)] == [{ATTENTION, MLP}, {ATTENTION}, {MLP}]
    assert torch.equal(attention[ATTENTION], whole[ATTENTION]) and torch.equal(mlp[MLP], whole[MLP])
    assert all(torch.equal(both[name], whole[name]) for name in whole)
