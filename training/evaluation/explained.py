"""How well a model that denoises predicts latents, told apart by what their channels are about.

The mean loss hides this: it falls when levels are predicted better, whatever becomes of the other channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from training.base import Example, Prediction
from training.loop import generator_of

# Much noise, where the arrangement is decided, and half as much, where the tones are.
TIMES = (0.8, 0.5)
_BATCH = 4


@runtime_checkable
class Predictor(Protocol):
    """A trainer of a model that denoises."""

    def predictions(
        self, examples: Sequence[Example], generators: Sequence[torch.Generator], time: float
    ) -> list[Prediction]: ...


@dataclass(frozen=True)
class Explained:
    """The share R² of the latents' variance that one step from noise predicts; 0 is what their mean would.

    Attributes:
        time: share of noise, 0 to 1.
        levels: of the channels that hold loudness; None if there are none.
        other: of the other channels; None if there are none.
    """

    time: float
    levels: float | None
    other: float | None


def explain(trainer: Predictor, examples: Sequence[Example], name: str, level_channels: int) -> list[Explained]:
    """R² at each of `TIMES`, by the trainer's model as it is now.

    Args:
        name: seeds the noise, so that it is the same at every call of the same name.
        level_channels: how many of the first channels hold loudness.
    """
    explained = []
    for time in TIMES:
        predictions: list[Prediction] = []
        for start in range(0, len(examples), _BATCH):
            batch = range(start, min(start + _BATCH, len(examples)))
            generators = [generator_of((name, index, time)) for index in batch]
            predictions += trainer.predictions([examples[index] for index in batch], generators, time)
        levels, other = (r_squared(predictions, part) for part in (slice(level_channels), slice(level_channels, None)))
        explained.append(Explained(time, levels, other))
    return explained


def r_squared(predictions: Sequence[Prediction], channels: slice) -> float | None:
    """R² over all frames of some channels, each around its own mean; None if they are none or constant."""
    latents = torch.cat([each.latents[:, channels] for each in predictions]).double()
    predicted = torch.cat([each.predicted[:, channels] for each in predictions]).double()
    variation = (latents - latents.mean(0)).square().sum()
    return float(1 - (latents - predicted).square().sum() / variation) if variation > 0 else None
