"""Stacked LoRA pairs: each row has its own, and nothing is copied without need."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from adapters.adapter_file import Header
from adapters.batched_lora import blend, stack_pairs
from adapters.weights import AdapterWeights, FlatPairs, LoraPair, linear_layers

ROOT = torch.nn.Sequential(torch.nn.Linear(8, 12), torch.nn.ReLU(), torch.nn.Linear(12, 6))
LAYERS = linear_layers(ROOT)


def _adapter(rank: int, layers: tuple[str, ...], seed: int, flat: bool = True) -> AdapterWeights:
    generator = torch.Generator().manual_seed(seed)
    pairs = {
        name: LoraPair(
            torch.randn(LAYERS[name].in_features, rank, generator=generator),
            torch.randn(rank, LAYERS[name].out_features, generator=generator),
        )
        for name in layers
    }
    header = Header("p", "m", "toy", "toy", "0", rank, "job", "2026-01-01T00:00:00+00:00", str(seed))
    return AdapterWeights(header, FlatPairs.of(pairs) if flat else pairs)


ADAPTERS = [
    _adapter(16, ("0", "2"), 1),
    _adapter(16, ("0", "2"), 2),
    _adapter(4, ("0",), 3),
    _adapter(24, ("2",), 4, flat=False),
]
MIXTURE = st.lists(st.tuples(st.sampled_from(ADAPTERS), st.sampled_from([1.0, 0.5, -0.3, 0.0])), max_size=3)


@given(rows=st.lists(MIXTURE, min_size=1, max_size=4))
def test_every_row_has_its_own_adapters_and_nothing_else(rows: list[list[tuple[AdapterWeights, float]]]) -> None:
    before = [weights.pairs[name].b.clone() for weights in ADAPTERS for name in weights.pairs]
    stacked = stack_pairs(ROOT, [blend(row) for row in rows])
    for index, row in enumerate(rows):
        for name, layer in LAYERS.items():
            expected = torch.zeros(layer.in_features, layer.out_features)
            for weights, strength in row:
                if name in weights.pairs:
                    expected += strength * (weights.pairs[name].a @ weights.pairs[name].b)
            found = stacked[name].a[index] @ stacked[name].b[index] if name in stacked else torch.zeros_like(expected)
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    after = [weights.pairs[name].b for weights in ADAPTERS for name in weights.pairs]
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))


def test_one_twin_alone_is_used_where_it_lies() -> None:
    twin = ADAPTERS[0]
    stacked = stack_pairs(ROOT, [blend([(twin, 1.0)])])
    for name, pair in twin.pairs.items():
        assert stacked[name].a.data_ptr() == pair.a.data_ptr() and torch.equal(stacked[name].b[0], pair.b)
