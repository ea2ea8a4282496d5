"""Exponential moving average of weights, by torch.optim.swa_utils."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class WeightAverage:
    """The moving average of a module's parameters.

    Only the parameters are copied, as modules with weight normalisation cannot be.

    Args:
        decay: weight of the former average in the long run; smaller in the first steps.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module = module
        self._parameters = nn.ParameterList(module.parameters())
        self._average = AveragedModel(self._parameters, avg_fn=_moving_average(decay))

    def update(self) -> None:
        """Take in the module's present weights."""
        self._average.update_parameters(self._parameters)

    def state_dict(self) -> dict[str, Tensor]:
        """The module's state with averaged parameters."""
        state = self._module.state_dict(keep_vars=True)  # the parameters themselves, so that tied ones are recognised
        averages = dict(zip(map(id, self._parameters), self._average.module.parameters(), strict=True))
        return {name: averages.get(id(value), value).detach() for name, value in state.items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor], updates: int) -> None:
        """Go on from a saved average of `updates` updates."""
        for (name, _), average in zip(self._module.named_parameters(), self._average.module.parameters(), strict=True):
            average.copy_(state[name])
        self._average.n_averaged.fill_(updates)


def _moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    def average(former: Tensor, value: Tensor, updates: Tensor | int) -> Tensor:
        count = float(updates)
        return former.lerp(value, 1 - min(decay, (count + 1) / (count + 20)))

    return average
