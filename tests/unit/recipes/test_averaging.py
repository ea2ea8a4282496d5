"""The moving average of weights: its formula, tied weights, and resuming."""

from __future__ import annotations

import torch
from torch import nn

from recipes.first_edition.averaging import WeightAverage


def tied() -> nn.Sequential:
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    module[1].weight = module[0].weight
    return module


def change(module: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()


def test_the_average_follows_the_weights_faster_at_first() -> None:
    module = tied()
    average = WeightAverage(module, decay=0.2)
    expected = torch.empty(0)
    for update in range(12):
        change(module, update)
        average.update()
        weight = next(iter(module.parameters())).detach().clone()
        decay = min(0.2, (update + 1) / (update + 20))
        expected = expected.lerp(weight, 1 - decay) if update else weight
    state = average.state_dict()
    assert torch.allclose(state["0.weight"], expected)
    assert torch.equal(state["0.weight"], state["1.weight"])
    assert state.keys() == module.state_dict().keys()


def test_a_resumed_average_continues() -> None:
    module = tied()
    first = WeightAverage(module, decay=0.99)
    for update in range(3):
        change(module, update)
        first.update()
    resumed = WeightAverage(module, decay=0.99)
    resumed.load_state_dict(first.state_dict(), updates=3)
    for average in (first, resumed):
        change(module, 9)
        average.update()
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in first.state_dict().items())


def test_weight_normalisation_is_averaged() -> None:
    module = nn.utils.weight_norm(nn.Conv1d(2, 2, 3))
    average = WeightAverage(module, decay=0.5)
    weights = []
    for update in range(2):
        change(module, update)
        average.update()
        weights.append({name: value.clone() for name, value in module.state_dict().items()})
    for name, value in average.state_dict().items():
        assert torch.allclose(value, weights[0][name].lerp(weights[1][name], 1 - 2 / 21))
    module.load_state_dict(average.state_dict())
