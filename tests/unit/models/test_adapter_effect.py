"""How much an adapter changes the weights of its layers, and the model's output."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from adapters.adapter_file import InvalidAdapter
from adapters.foreign import convert
from adapters.weights import linear_layers
from models.ace_step import AceStep
from models.adapter_effect import measure, probe, weight_change
from models.base import run_to_end
from tests.peft_files import (
    HEADER,
    converted_delta,
    peft_of,
    peft_tensors,
    saved_by_peft,
)


def effect(model: AceStep, factor: float, part: str = "lora_B") -> list[str]:
    tensors = {key: tensor * factor if part in key else tensor for key, tensor in peft_tensors(model).items()}
    made = convert(save(tensors), b'{"lora_alpha": 4, "r": 4}', HEADER, model)
    relative = weight_change(made.weights, model)
    without, with_it = (run_to_end(model.response(probe(rows))) for rows in ([], [(made.weights, 1.0)]))
    return measure(relative, model, without, with_it).notes()


def test_the_change_of_weights_is_the_norm_of_what_is_added(model: AceStep, tmp_path: Path) -> None:
    for config in ({}, {"use_dora": True}):
        made = convert(*saved_by_peft(peft_of(model.adapted, **config), tmp_path), HEADER, model)
        layers = linear_layers(model.adapted)
        names = [*made.weights.pairs, *made.weights.deltas]
        changed = torch.cat([converted_delta(made, model, name).flatten() for name in names]).norm()
        base = torch.cat([layers[name].weight.flatten() for name in names]).norm()
        assert weight_change(made.weights, model) == pytest.approx(float(changed / base), rel=1e-4)


def test_how_much_it_changes_is_said(model: AceStep) -> None:
    (said,) = effect(model, 1.0)
    part = float(said.split(" by ")[1].split()[0])
    assert 1e-3 < part < 2
    assert any("changes nothing" in note for note in effect(model, 1e-8))
    assert any("more than the weights" in note for note in effect(model, 1e3))


@pytest.mark.parametrize("part", ["lora_A", "lora_B", "lora_"])
def test_weights_that_overflow_are_refused(model: AceStep, part: str) -> None:
    with pytest.raises(InvalidAdapter, match=r"finite|times their own size"):
        effect(model, 1e38, part)
