"""The interface between the training loop and a backend's trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from models.base import Model, Text

MIN_DEFAULT_STEPS, MAX_DEFAULT_STEPS = 120, 4000

# The tensors that are computed once for each clip, by name: latents or codes, and the encoded text.
Example = dict[str, "torch.Tensor"]


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of a training.

    Attributes:
        steps: optimiser steps.
        batch: examples per step.
        rank, alpha: of the LoRA adapter.
        targets: name suffixes of the Linear layers that get an adapter, as PEFT's `target_modules`.
        learning_rate: its peak, reached after a linear warm-up and followed by a cosine decay to 1 %.
        warmup: steps of the warm-up.
        clip: the largest norm of the gradient.
        dropout: on the adapter's input.
        weight_decay: of AdamW.
        seed: of all random numbers.
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
        """The fields as types that JSON and `torch.load(weights_only=True)` know."""
        return asdict(self) | {"targets": list(self.targets)}


@dataclass(frozen=True)
class Prediction:
    """What a model that denoises makes of one noisy example, in one step.

    Attributes:
        latents: the example's own, `[T, C]`.
        predicted: the model's estimate of them, `[T, C]`.
    """

    latents: torch.Tensor
    predicted: torch.Tensor


def steps_for(seconds: float, backend: str) -> int:
    """The default number of steps for that many seconds of music, by the backend's row in the runner table."""
    # Imported here because it brings the server's libraries, which a loop with a recipe of its own does not need.
    from runners import TABLE

    steps_per_second = TABLE[backend].training_steps_per_second
    assert steps_per_second is not None
    return int(min(MAX_DEFAULT_STEPS, max(MIN_DEFAULT_STEPS, seconds * steps_per_second)))


class Trainer(Protocol):
    """The part of training that differs by backend: an example's tensors and its loss."""

    def __init__(self, model: Model) -> None: ...

    def recipe(self, seconds: float) -> Recipe:
        """The default hyperparameters for that many seconds of music."""
        ...

    def example(self, audio: NDArray[np.float32], text: Text) -> Example:
        """The tensors of one clip that do not change while the adapter is trained.

        Args:
            audio: `[channels, samples]` at the model's sample rate and channels.
            text: encoded by the same conditioner as in generation.
        """
        ...

    def losses(self, examples: Sequence[Example], generators: Sequence[torch.Generator]) -> torch.Tensor:
        """The loss of each example, `[examples]`, with gradients.

        Args:
            generators: one for each example, on the CPU. All random numbers of an example (noise, time, crop, dropout)
                come from its generator, so they do not depend on how the batch is divided.
        """
        ...

    def save_memory(self) -> None:
        """Use gradient checkpointing from now on: recompute activations in the backward pass."""
        ...
