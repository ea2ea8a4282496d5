"""The scale at which a twin is best on held-out songs, and what it means in a request that names none."""

from __future__ import annotations

import pytest
import torch

from tests.unit.training.toy import RECIPE, ToyTrainer, toy_module, toy_split
from training.evaluation.scales import SCALES, ScaleGains, measure_scales
from training.loop import session


def test_the_gain_is_measured_at_each_scale_and_the_adapter_is_left_as_it_was() -> None:
    module = toy_module()
    split = toy_split(module, held_out_share=0.5)
    with session(ToyTrainer(module), module, RECIPE) as running:  # type: ignore[arg-type]
        while running.step < RECIPE.steps:
            running.advance(split.train.examples)
        before = running.pairs()
        gains = measure_scales(running, split.held_out.examples)
        after = running.pairs()
        assert all(torch.equal(before[name].b, after[name].b) for name in before)
        # Half of the change is asked for.
        assert tuple(gains.gains) == SCALES and gains.recommended == 0.5
        assert gains.gains[0.5] > gains.gains[1.0] > gains.gains[1.5]
        assert measure_scales(running, split.held_out.examples) == gains
        assert gains.record()["recommended"] == 0.5 and gains.record()["examples"] == 4
        with running.scaled(0.5):
            half = running.pairs()
        assert torch.allclose(half["layer"].b, before["layer"].b / 2)


@pytest.mark.parametrize(("gain", "recommended"), [(0.104, 1.0), (0.106, 1.25)])
def test_another_scale_is_recommended_if_its_gain_can_be_heard(gain: float, recommended: float) -> None:
    assert ScaleGains({0.5: 0.05, 1.0: 0.1, 1.25: gain, 1.5: 0.0}, 4).recommended == recommended
