"""Trainings on processors without bfloat16."""

from __future__ import annotations

import pytest
import torch

from recipes.first_edition import precision


@pytest.mark.parametrize("shape", [(24, 64), (64, 24), (32, 32)])
def test_a_step_in_float32_is_that_in_bfloat16_but_for_rounding(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for has_bfloat16 in (True, False):
        monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda has=has_bfloat16: has)
        torch.manual_seed(0)
        weights = torch.nn.Parameter(torch.zeros(shape))
        optimizer = precision.Muon([weights], lr=0.1, weight_decay=0.0)
        for _ in range(2):
            weights.grad = torch.randn(shape)
            optimizer.step()
        found.append(weights.detach())
    in_bfloat16, in_float32 = found
    assert 0 < (in_bfloat16 - in_float32).norm() < 0.02 * in_float32.norm()
