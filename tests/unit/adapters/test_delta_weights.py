"""ΔW of each kind of adapter, against PEFT."""

from __future__ import annotations

import copy

import pytest
import torch

from adapters.adapter_file import InvalidAdapter, module_and_part
from adapters.delta_weights import read_delta


@pytest.mark.parametrize("kind", ["dora", "lokr", "loha"])
def test_deltas_are_those_of_peft(kind: str) -> None:
    from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model, get_peft_model_state_dict

    torch.manual_seed(0)
    config = {
        "dora": LoraConfig(r=4, lora_alpha=4, use_dora=True, target_modules=["0"], init_lora_weights=False),
        "lokr": LoKrConfig(r=4, alpha=4, target_modules=["0"], init_weights=False),
        "loha": LoHaConfig(r=4, alpha=4, target_modules=["0"], init_weights=False),
    }[kind]
    layer = torch.nn.Linear(24, 16)
    peft = get_peft_model(torch.nn.Sequential(copy.deepcopy(layer)), config)  # type: ignore[arg-type]
    parts = {module_and_part(name)[1]: part for name, part in get_peft_model_state_dict(peft).items()}
    delta = read_delta("0", parts, layer)
    x = torch.randn(3, 24)
    expected = peft(x)
    ours = torch.nn.functional.linear(x, layer.weight + delta.of(layer.weight), layer.bias)
    assert torch.allclose(ours, expected, atol=1e-5) and not torch.allclose(ours, layer(x), atol=1e-2)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"lokr_w1": torch.ones(2, 2)}, "lacks lokr_w2"),
        ({"lokr_w1": torch.ones(2, 2), "lokr_w2": torch.ones(3, 3)}, "is for a layer of"),
        ({"hada_w1_a": torch.ones(2, 2)}, "no adapter that is known"),
        ({"lokr_w1": torch.ones(2, 2), "lokr_w2_a": torch.ones(3, 3), "lokr_w2_b": torch.ones(2, 2)}, "fit together"),
    ],
)
def test_tensors_of_no_known_kind_are_refused(parts: dict[str, torch.Tensor], reason: str) -> None:
    with pytest.raises(InvalidAdapter, match=reason):
        read_delta("x", parts, torch.nn.Linear(8, 8))
