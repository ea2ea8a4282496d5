"""What a backend's trainer offers to the loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from models.base import Model, Text

# What is computed once for a clip, since everything but the adapter is frozen: name → tensor.
Example = dict[str, "torch.Tensor"]


@dataclass(frozen=True)
class Recipe:
    """How an adapter is trained; every field has a default that the backend chooses by the size of the data.

    Attributes:
        steps: optimiser steps.
        batch: examples a step.
        rank, alpha: of the adapter.
        targets: endings of the names of the Linear layers that it changes.
        learning_rate: the peak, after a linear warm-up over `warmup` steps; a cosine leads down to 1 % of it.
        clip: the gradient's largest norm.
        dropout: on the adapter's input.
        seed: of everything random.
    """

    steps: int
    batch: int
    rank: int
    alpha: int
    targets: Sequence[str]
    learning_rate: float
    warmup: int
    clip: float = 1.0
    dropout: float = 0.0
    weight_decay: float = 0.01
    seed: int = 0

    def plain(self) -> dict[str, Any]:
        """Its fields, as a file keeps them."""
        return asdict(self) | {"targets": list(self.targets)}


def steps_for(seconds: float, steps_a_second: float) -> int:
    """By default, for so many seconds of music in all."""
    return int(min(4000, max(120, seconds * steps_a_second)))


class Trainer(Protocol):
    """The part of training that differs by backend: what an example is, and its loss."""

    def __init__(self, model: Model) -> None: ...

    def recipe(self, seconds: float) -> Recipe:
        """The defaults for so many seconds of music in all."""
        ...

    def example(self, audio: NDArray[np.float32], text: Text) -> Example:
        """Everything frozen about one clip, computed once.

        Args:
            audio: `[channels, samples]` at the model's own rate and channels.
            text: read by the same conditioner as in generation.
        """
        ...

    def losses(self, examples: Sequence[Example], generators: Sequence[torch.Generator]) -> torch.Tensor:
        """The loss of each example, `[examples]`, with gradients.

        All that is random about an example (noise, time, crop, dropout) comes from its own generator, on the CPU:
        so it is the same whoever else is in the batch, and however the batch is divided.
        """
        ...

    def save_memory(self) -> None:
        """Compute activations again in the backward pass instead of keeping them, from now on."""
        ...
